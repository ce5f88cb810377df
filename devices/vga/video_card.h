// The display adapter as a PCI function: vendor 1234h, device 1111h (QEMU, docs/specs/standard-vga).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "devices/pci_bus.h"
#include "devices/vga/direct_window.h"
#include "devices/vga/vga.h"

namespace ring3 {

/// VGA with video memory in BAR 0, registers in BAR 2 and a video BIOS in the ROM BAR.
class VideoCard final : public PciDevice {
 public:
  static constexpr uint32_t kMemoryBytes = 16u << 20;
  static constexpr uint32_t kMostBiosBytes = 64u << 10;
  /// What PhysicalMemory has to promise for the card.
  static constexpr uint64_t kBackedBytes = kMemoryBytes;

  /// `bios` is the video BIOS, up to kMostBiosBytes, or empty. Throws std::logic_error where the VGA's ports or window
  /// are taken.
  VideoCard(Clock& clock, TimerQueue& timers, PhysicalMemory& physical, PortBus& ports, std::vector<uint8_t> bios);

  Vga& Chip() { return vga_; }
  /// What the guest reads of its monitor; without it, zeros.
  void SetEdid(std::span<const uint8_t> edid) { registers_.SetEdid(edid); }
  /// As a BIOS would leave it, with `lfb` as the address of the video memory: for guests that are started without one.
  void EnableWithoutBios(uint32_t lfb);
  void Reset() override;

  MmioDevice* BarMemory(unsigned index) override;
  BackedMemory* BarBacked(unsigned index) override;

 private:
  static constexpr unsigned kMemoryBar = 0, kRegisterBar = 2;

  /// EDID at 0, VGA ports at 400h, Bochs registers at 500h, QEMU's own at 600h.
  class RegisterWindow final : public MmioDevice {
   public:
    static constexpr uint32_t kBytes = 4096;
    explicit RegisterWindow(Vga& vga) : vga_(vga) {}
    void SetEdid(std::span<const uint8_t> edid) { edid_.assign(edid.begin(), edid.end()); }
    uint64_t ReadMmio(GuestPhysical address, unsigned size) override;
    void WriteMmio(GuestPhysical address, unsigned size, uint64_t value) override;

   private:
    uint64_t ReadEdid(uint32_t at, unsigned size) const;

    Vga& vga_;
    std::vector<uint8_t> edid_;
  };

  VideoMemory memory_;
  Vga vga_;
  DirectWindow direct_;
  RegisterWindow registers_;
};

}  // namespace ring3
