// What memory holds before a trial.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

namespace ring3 {

/// Pseudo-random bytes. Xorshift: the Mersenne twister would be most of a test's time.
inline std::vector<uint8_t> Noise(uint64_t seed, size_t bytes) {
  uint64_t state = 0x9E37'79B9'7F4A'7C15 ^ (seed * 0x1000'0001);
  std::vector<uint8_t> out(bytes);
  for (size_t i = 0; i < bytes; i += sizeof state) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    std::memcpy(&out[i], &state, sizeof state);
  }
  return out;
}

}  // namespace ring3
