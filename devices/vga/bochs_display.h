// The Bochs VBE extension ("dispi"): linear modes of any size (Bochs, VBE Display API; QEMU, docs/specs/standard-vga).
#pragma once

#include <array>
#include <cstdint>

namespace ring3 {

/// A linear picture in video memory, as its registers describe it; all of it lies in that memory.
struct LinearMode {
  uint32_t width = 0, height = 0;  // pixels
  uint32_t bits = 0;               // per pixel: 4 (planar), 8, 15, 16, 24 or 32
  uint32_t pitch = 0;              // bytes from line to line; for 4 bits, per plane
  uint32_t start = 0;              // first byte shown; for 4 bits, in each plane
  uint32_t first_pixel = 0;        // for 4 bits: pixels of the first byte that are not shown

  bool operator==(const LinearMode&) const = default;
};

class BochsDisplay {
 public:
  // Indices.
  static constexpr uint16_t kId = 0, kWidth = 1, kHeight = 2, kBits = 3, kEnable = 4, kBank = 5, kVirtualWidth = 6,
                            kVirtualHeight = 7, kXOffset = 8, kYOffset = 9, kMemory64K = 10;
  static constexpr unsigned kCount = 11;
  // kEnable.
  static constexpr uint16_t kEnabled = 0x01, kCapabilities = 0x02, kEightBitDac = 0x20, kLinear = 0x40,
                            kKeepMemory = 0x80;
  static constexpr uint16_t kFirstId = 0xB0C0, kLatestId = 0xB0C5;
  static constexpr uint16_t kMostWidth = 2560, kMostHeight = 1600, kMostBits = 32;

  explicit BochsDisplay(uint32_t memory_bytes);

  uint16_t Read(uint16_t index) const;
  /// True when a mode was switched on that wants the video memory cleared.
  bool Write(uint16_t index, uint16_t value);
  void Reset();

  bool Enabled() const { return registers_[kEnable] & kEnabled; }
  bool WantsEightBitDac() const { return registers_[kEnable] & kEightBitDac; }
  /// Byte offset that the 64 KiB window at A0000h adds.
  uint32_t BankOffset() const { return uint32_t{registers_[kBank]} << 16; }
  /// While Enabled().
  LinearMode Mode() const;

 private:
  uint32_t Pitch(uint32_t width) const;
  void SetEnable(uint16_t value);
  void Fit();

  uint32_t memory_bytes_;
  std::array<uint16_t, kCount> registers_{};
};

}  // namespace ring3
