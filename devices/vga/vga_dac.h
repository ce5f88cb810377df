// The VGA's palette DAC: 256 colours of 6 bits a channel, or 8 after the Bochs extension asked for them.
#pragma once

#include <array>
#include <cstdint>

namespace ring3 {

class VgaDac {
 public:
  uint8_t Read(uint16_t port);
  void Write(uint16_t port, uint8_t value);
  void Reset() { *this = VgaDac(); }
  void SetEightBit(bool eight_bit);
  bool EightBit() const { return eight_bit_; }

  /// The colour as 00RRGGBBh, after the pixel mask.
  uint32_t Colour(uint8_t index) const;
  /// Grows with each change of a colour or the mask.
  uint32_t Generation() const { return generation_; }

 private:
  static constexpr uint8_t kStateWrite = 0, kStateRead = 3;

  std::array<std::array<uint8_t, 3>, 256> colours_{};
  std::array<uint8_t, 3> pending_{};  // a colour takes effect with its third byte
  uint8_t mask_ = 0xFF, read_index_ = 0, write_index_ = 0, channel_ = 0, state_ = kStateWrite;
  bool eight_bit_ = false;
  uint32_t generation_ = 0;
};

}  // namespace ring3
