#include "devices/vga/bochs_display.h"

#include <algorithm>

namespace ring3 {
namespace {

constexpr uint32_t kPlanes = 4, kPixelsPerByte = 8;
constexpr uint16_t kWidthStep = 8;
constexpr uint32_t kMostPitchPixels = 0xFFF8;

bool IsDepth(uint16_t bits) {
  constexpr uint16_t kDepths[] = {4, 8, 15, 16, 24, 32};
  return std::find(std::begin(kDepths), std::end(kDepths), bits) != std::end(kDepths);
}

}  // namespace

BochsDisplay::BochsDisplay(uint32_t memory_bytes) : memory_bytes_(memory_bytes) { Reset(); }

void BochsDisplay::Reset() {
  registers_ = {};
  registers_[kId] = kLatestId;
  registers_[kBits] = 8;
}

uint16_t BochsDisplay::Read(uint16_t index) const {
  if (index == kMemory64K) return static_cast<uint16_t>(memory_bytes_ >> 16);
  if (index >= kCount) return 0;
  if (registers_[kEnable] & kCapabilities) {
    if (index == kWidth) return kMostWidth;
    if (index == kHeight) return kMostHeight;
    if (index == kBits) return kMostBits;
  }
  return registers_[index];
}

bool BochsDisplay::Write(uint16_t index, uint16_t value) {
  const bool enabled = Enabled();
  switch (index) {
    case kId:
      if (value >= kFirstId && value <= kLatestId) registers_[kId] = value;
      return false;
    // The size of a mode that is on does not change.
    case kWidth:
      if (!enabled && value != 0 && value <= kMostWidth) registers_[kWidth] = value & ~(kWidthStep - 1);
      return false;
    case kHeight:
      if (!enabled && value != 0 && value <= kMostHeight) registers_[kHeight] = value;
      return false;
    case kBits:
      if (value == 0) value = 8;
      if (!enabled && IsDepth(value)) registers_[kBits] = value;
      return false;
    case kEnable:
      SetEnable(value);
      return Enabled() && !enabled && !(value & kKeepMemory);
    case kBank: {
      const uint32_t planes = registers_[kBits] == 4 ? kPlanes : 1;
      if (uint32_t{value} << 16 < memory_bytes_ / planes) registers_[kBank] = value;
      return false;
    }
    case kVirtualWidth:
    case kXOffset:
    case kYOffset:
      registers_[index] = value;
      if (enabled) Fit();
      return false;
    default:
      return false;  // the virtual height follows from the memory
  }
}

/// Switching on shows the mode from its first line, without virtual size.
void BochsDisplay::SetEnable(uint16_t value) {
  const bool was_enabled = Enabled();
  registers_[kEnable] = value & (kEnabled | kCapabilities | kEightBitDac | kLinear | kKeepMemory);
  if (!Enabled()) {
    registers_[kBank] = 0;
    return;
  }
  if (was_enabled) return;
  registers_[kWidth] = std::max(registers_[kWidth], kWidthStep);
  registers_[kHeight] = std::max<uint16_t>(registers_[kHeight], 1);
  registers_[kVirtualWidth] = registers_[kWidth];
  registers_[kXOffset] = registers_[kYOffset] = registers_[kBank] = 0;
  Fit();
}

/// Bytes of a line of `width` pixels; for 4 bits, in each plane.
uint32_t BochsDisplay::Pitch(uint32_t width) const {
  const uint32_t bits = registers_[kBits];
  return bits == 4 ? width / kPixelsPerByte : width * ((bits + 7) / 8);
}

/// Keeps what is shown inside the virtual picture, and that inside the memory.
void BochsDisplay::Fit() {
  const uint32_t memory = registers_[kBits] == 4 ? memory_bytes_ / kPlanes : memory_bytes_;
  const uint32_t width = registers_[kWidth];
  uint32_t virtual_width =
      std::clamp<uint32_t>(registers_[kVirtualWidth], width, kMostPitchPixels) & ~(kWidthStep - 1u);
  if (memory / Pitch(virtual_width) < registers_[kHeight]) virtual_width = width;
  const uint32_t most_lines = memory / Pitch(virtual_width);
  registers_[kHeight] = static_cast<uint16_t>(std::min<uint32_t>(registers_[kHeight], most_lines));
  registers_[kVirtualWidth] = static_cast<uint16_t>(virtual_width);
  registers_[kVirtualHeight] = static_cast<uint16_t>(std::min<uint32_t>(most_lines, 0xFFFF));
  registers_[kXOffset] = static_cast<uint16_t>(std::min<uint32_t>(registers_[kXOffset], virtual_width - width));
  registers_[kYOffset] =
      static_cast<uint16_t>(std::min<uint32_t>(registers_[kYOffset], registers_[kVirtualHeight] - registers_[kHeight]));
}

LinearMode BochsDisplay::Mode() const {
  LinearMode mode;
  mode.width = registers_[kWidth];
  mode.height = registers_[kHeight];
  mode.bits = registers_[kBits];
  mode.pitch = Pitch(registers_[kVirtualWidth]);
  const uint32_t x = registers_[kXOffset];
  mode.start = registers_[kYOffset] * mode.pitch + (mode.bits == 4 ? x / kPixelsPerByte : x * ((mode.bits + 7) / 8));
  if (mode.bits == 4) mode.first_pixel = x % kPixelsPerByte;
  return mode;
}

}  // namespace ring3
