// Random numbers of trials: cheap to seed, the same everywhere.
#pragma once

#include <cstdint>
#include <iterator>

namespace ring3 {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9E37'79B9'7F4A'7C15 + 0x1234'5678'9ABC'DEF1) {}

  /// SplitMix64.
  uint64_t Next() {
    uint64_t z = state_ += 0x9E37'79B9'7F4A'7C15;
    z = (z ^ z >> 30) * 0xBF58'476D'1CE4'E5B9;
    z = (z ^ z >> 27) * 0x94D0'49BB'1331'11EB;
    return z ^ z >> 31;
  }
  uint32_t Word() { return static_cast<uint32_t>(Next() >> 32); }
  uint32_t Below(uint32_t bound) { return static_cast<uint32_t>((uint64_t{Word()} * bound) >> 32); }
  bool OneIn(uint32_t n) { return Below(n) == 0; }
  template <class T>
  const auto& From(const T& items) {
    return std::begin(items)[Below(static_cast<uint32_t>(std::size(items)))];
  }
  /// Noise, with a liking for values around boundaries.
  uint32_t Value() {
    constexpr uint32_t kEdges[] = {0,    1,       2,      0x1F,   0x20,        0x21,        0x7F,        0x80,
                                   0xFF, 0x100,   0x7FFF, 0x8000, 0xFFFF,      0x1'0000,    0x7FFF'FFFF, 0x8000'0000,
                                   ~0u,  ~0u - 1, ~0x7Fu, ~0x80u, 0xFFFF'8000, 0xFFFF'7FFF, 0x1234'5678, 0x0909'9999};
    return OneIn(2) ? From(kEdges) : Word();
  }

 private:
  uint64_t state_;
};

}  // namespace ring3
