// A 93C46 serial EEPROM of 64 words, clocked bit by bit (Microchip 93C46B data sheet, x16 organisation).
#pragma once

#include <array>
#include <cstdint>

namespace ring3 {

class Eeprom93c46 {
 public:
  static constexpr unsigned kWords = 64;
  using Words = std::array<uint16_t, kWords>;

  explicit Eeprom93c46(const Words& words) : words_(words) {}

  /// The levels of chip select, clock and data in. Bits are taken at the clock's rising edge.
  void SetLines(bool select, bool clock, bool data_in);
  bool DataOut() const { return data_out_; }
  uint16_t Word(unsigned index) const { return words_[index % kWords]; }

 private:
  enum class Phase : uint8_t { kStart, kCommand, kReading, kWriting, kDone };

  void Clock(bool bit);
  void TakeCommand();
  void Store();

  Words words_;
  Phase phase_ = Phase::kStart;
  unsigned bits_ = 0;  // how many of shift_ count
  uint16_t shift_ = 0;
  unsigned address_ = 0;
  bool all_words_ = false;
  bool writable_ = false;
  bool select_ = false, clock_ = false, data_out_ = true;
};

}  // namespace ring3
