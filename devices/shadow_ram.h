// The first mebibyte's upper part, where the host bridge chooses between ROM and the RAM behind it (Intel 82441FX, PAM0
// to PAM6, and SMRAM).
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "shadowmmu/physical_memory.h"

namespace ring3 {

/// Twelve segments of 16 KiB from C0000h on, and one of 64 KiB at F0000h. Each can be read from ROM or RAM, and written
/// to RAM or nowhere. Pages show what is read; the other content is kept aside.
class ShadowRam final : private MmioDevice {
 public:
  static constexpr unsigned kSegments = 13;
  static constexpr uint64_t kFirst = 0xC0000, kEnd = 0x100000;

  /// The end of `rom`, up to 128 KiB, is the ROM below 1 MiB; before it nothing is (all ones). All segments begin with
  /// reads from ROM and no writes. Both outlive this.
  ShadowRam(PhysicalMemory& memory, std::span<const uint8_t> rom);

  /// `segment` 0..11 is C0000h + 16 KiB * segment, 12 is F0000h.
  void Set(unsigned segment, bool read_ram, bool write_ram);
  /// SMRAM: A0000h to BFFFFh is RAM (true) or the video hole.
  void OpenVideoHole(bool open);
  /// As after power-on; RAM keeps its content.
  void Reset();

 private:
  struct State {
    bool read_ram = true, write_ram = true;
  };
  static uint64_t SegmentFirst(unsigned segment) { return kFirst + kSmallSegment * segment; }
  static uint64_t SegmentBytes(unsigned segment) { return segment == kSegments - 1 ? kLastSegment : kSmallSegment; }
  std::span<uint8_t> Aside(std::vector<uint8_t>& bytes, unsigned segment) const;

  uint64_t ReadMmio(GuestPhysical address, unsigned size) override;
  void WriteMmio(GuestPhysical address, unsigned size, uint64_t value) override;

  static constexpr uint64_t kSmallSegment = 16u << 10, kLastSegment = 64u << 10;

  PhysicalMemory& memory_;
  std::vector<uint8_t> rom_;  // what ROM reads as, from kFirst to kEnd
  std::vector<uint8_t> ram_;  // RAM's content where ROM is read
  std::array<State, kSegments> states_{};
  bool hole_open_ = false;
};

}  // namespace ring3
