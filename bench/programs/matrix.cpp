// A product of integer matrices: loops over arrays.
#include "programs.h"

namespace programs {

uint32_t Matrix(uint32_t size) {
  constexpr int kSide = 128;
  static uint32_t a[kSide][kSide], b[kSide][kSide], c[kSide][kSide];
  Random random(7);
  for (auto& row : a) {
    for (uint32_t& x : row) x = random.Next();
  }
  for (auto& row : b) {
    for (uint32_t& x : row) x = random.Next();
  }
  uint32_t hash = kMixStart;
  for (uint32_t round = 0; round < size; ++round) {
    for (int i = 0; i < kSide; ++i) {
      for (int j = 0; j < kSide; ++j) {
        uint32_t sum = 0;
        for (int k = 0; k < kSide; ++k) sum += a[i][k] * b[k][j];
        c[i][j] = sum;
      }
    }
    a[round % kSide][0] ^= c[0][round % kSide];
    hash = Mix(hash, c[round % kSide][1]);
  }
  return hash;
}

}  // namespace programs
