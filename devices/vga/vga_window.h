// The processor's way into the four planes: the window at A0000h (FreeVGA: Accessing the VGA Display Memory).
//
// Byte 4n + p of video memory is byte n of plane p. Chain-4 and odd/even addressing put neighbours on the bus into
// neighbouring bytes of one n, so that linear and planar modes show the same memory.
#pragma once

#include <cstdint>
#include <optional>

#include "devices/vga/bochs_display.h"
#include "devices/vga/vga_registers.h"
#include "devices/vga/video_memory.h"
#include "shadowmmu/physical_memory.h"

namespace ring3 {

class DirectWindow;

class VgaWindow final : public MmioDevice {
 public:
  static constexpr uint32_t kFirst = 0xA0000, kBytes = 0x20000;

  VgaWindow(const VgaRegisters& registers, const BochsDisplay& bochs, VideoMemory& memory)
      : registers_(registers), bochs_(bochs), memory_(memory) {}

  /// `address` is guest-physical. A wider access is bytes from low to high, as on the 8-bit bus of the original.
  uint64_t ReadMmio(GuestPhysical address, unsigned size) override;
  void WriteMmio(GuestPhysical address, unsigned size, uint64_t value) override;
  /// A stretch of the window in which each byte is one of video memory, to read and to write.
  struct PlainBytes {
    uint32_t address, bytes, offset;  // guest-physical, and from the start of video memory
    bool operator==(const PlainBytes&) const = default;
  };
  /// What of the window is that now. Reads by that way do not fill the latches, which nobody looks at there.
  std::optional<PlainBytes> Plain() const;
  /// The guest had access to such bytes until now.
  void PlainBytesWritten() { ++font_generation_; }
  /// Is told of each access.
  void SetDirect(DirectWindow* direct) { direct_ = direct; }

  /// Grows with each write to plane 2, where fonts are.
  uint32_t FontGeneration() const { return font_generation_; }

 private:
  std::optional<uint32_t> Offset(GuestPhysical address) const;
  bool Linear() const;
  uint32_t Cell(uint32_t index) const;
  uint8_t ReadByte(uint32_t offset);
  void WriteByte(uint32_t offset, uint8_t value);
  void WriteCell(uint32_t cell, uint8_t value, uint32_t planes);

  const VgaRegisters& registers_;
  const BochsDisplay& bochs_;
  VideoMemory& memory_;
  uint32_t latch_ = 0;  // plane p in byte p
  uint32_t font_generation_ = 0;
  DirectWindow* direct_ = nullptr;
};

}  // namespace ring3
