#include "devices/vga/vga_dac.h"

#include "devices/vga/vga_registers.h"

namespace ring3 {
namespace {

constexpr uint8_t kSixBits = 0x3F;
constexpr unsigned kChannels = 3;

/// Full scale for full scale.
uint32_t Widen(uint8_t value, bool eight_bit) {
  if (eight_bit) return value;
  const uint32_t six = value & kSixBits;
  return six << 2 | six >> 4;
}

}  // namespace

uint8_t VgaDac::Read(uint16_t port) {
  switch (port) {
    case vga::kDacMaskPort:
      return mask_;
    case vga::kDacReadPort:
      return state_;
    case vga::kDacWritePort:
      return write_index_;
    default:
      break;
  }
  const uint8_t value = colours_[read_index_][channel_];
  if (++channel_ == kChannels) {
    channel_ = 0;
    ++read_index_;
  }
  return value;
}

void VgaDac::Write(uint16_t port, uint8_t value) {
  switch (port) {
    case vga::kDacMaskPort:
      mask_ = value;
      ++generation_;
      return;
    case vga::kDacReadPort:
      read_index_ = value;
      channel_ = 0;
      state_ = kStateRead;
      return;
    case vga::kDacWritePort:
      write_index_ = value;
      channel_ = 0;
      state_ = kStateWrite;
      return;
    default:
      break;
  }
  pending_[channel_] = eight_bit_ ? value : value & kSixBits;
  if (++channel_ < kChannels) return;
  channel_ = 0;
  colours_[write_index_++] = pending_;
  ++generation_;
}

void VgaDac::SetEightBit(bool eight_bit) {
  if (eight_bit != eight_bit_) ++generation_;
  eight_bit_ = eight_bit;
}

uint32_t VgaDac::Colour(uint8_t index) const {
  const auto& colour = colours_[index & mask_];
  return Widen(colour[0], eight_bit_) << 16 | Widen(colour[1], eight_bit_) << 8 | Widen(colour[2], eight_bit_);
}

}  // namespace ring3
