// The VGA: its ports, and what a renderer needs to know (FreeVGA; IBM VGA technical reference).
#pragma once

#include <cstdint>

#include "devices/byte_port_device.h"
#include "devices/clock.h"
#include "devices/ports_of.h"
#include "devices/vga/bochs_display.h"
#include "devices/vga/retrace.h"
#include "devices/vga/vga_dac.h"
#include "devices/vga/vga_registers.h"
#include "devices/vga/vga_window.h"
#include "devices/vga/video_memory.h"

namespace ring3 {

/// Ports 3B0h-3DFh. The Bochs extension's ports are BochsPorts().
class Vga final : public BytePortDevice {
 public:
  static constexpr uint16_t kFirstPort = 0x3B0;
  static constexpr unsigned kPortCount = 0x30;
  static constexpr uint16_t kBochsIndexPort = 0x1CE;
  static constexpr unsigned kBochsPortCount = 4;  // 16-bit registers: the index, the data at 1CFh and at 1D0h

  /// `memory` has 256 KiB at least.
  Vga(Clock& clock, VideoMemory& memory);

  VgaWindow& Window() { return window_; }
  /// Is told of each change of a register that matters to it, and of the window's use.
  void SetDirect(DirectWindow* direct) {
    direct_ = direct;
    window_.SetDirect(direct);
  }
  PortDevice& BochsPorts() { return bochs_ports_; }
  void Reset();
  /// As the BIOS leaves text mode 3 (80 by 25, 9 by 16 dots): for guests that are started without one.
  /// `font` is 256 characters of 16 bytes, or empty.
  void EnterTextMode(std::span<const uint8_t> font);

  const VgaRegisters& Registers() const { return registers_; }
  const VgaDac& Dac() const { return dac_; }
  const BochsDisplay& Bochs() const { return bochs_; }
  VideoMemory& Memory() { return memory_; }
  uint32_t MemorySize() const { return memory_.Size(); }
  uint32_t FontGeneration() const { return window_.FontGeneration(); }

  uint16_t ReadBochs(uint16_t index) const { return bochs_.Read(index); }
  void WriteBochs(uint16_t index, uint16_t value);
  /// Whole frames since the clock's start: blinking goes by them.
  uint64_t Frames();

 protected:
  uint8_t ReadByte(uint16_t port) override;
  void WriteByte(uint16_t port, uint8_t value) override;

 private:
  /// A 16-bit index register and a 16-bit data register at one port each.
  uint32_t ReadBochsPort(uint16_t port, unsigned size);
  void WriteBochsPort(uint16_t port, unsigned size, uint32_t value);
  bool Answers(uint16_t port) const;
  uint8_t ReadCrtc(uint16_t port) const;
  void WriteCrtc(uint16_t port, uint8_t value);
  void WriteAttribute(uint8_t value);
  uint8_t ReadStatus();
  void WindowChanged();
  void TimingChanged() { timing_ = TimingOf(registers_); }

  Clock& clock_;
  VideoMemory& memory_;
  VgaRegisters registers_;
  VgaDac dac_;
  BochsDisplay bochs_;
  VgaWindow window_;
  PortsOf<Vga, &Vga::ReadBochsPort, &Vga::WriteBochsPort> bochs_ports_{*this};
  uint16_t bochs_index_ = 0;
  FrameTiming timing_;
  DirectWindow* direct_ = nullptr;
};

}  // namespace ring3
