// Mandelbrot's set on the x87 stack (the build compiles this file with -mfpmath=387).
#include "programs.h"

namespace programs {

uint32_t X87(uint32_t size) {
  constexpr int kSide = 64, kLimit = 200;
  uint32_t hash = kMixStart;
  for (uint32_t round = 0; round < size; ++round) {
    for (int row = 0; row < kSide; ++row) {
      for (int column = 0; column < kSide; ++column) {
        const double cr = column * 3.0 / kSide - 2.0 + round * 1e-6, ci = row * 2.0 / kSide - 1.0;
        double r = 0, i = 0;
        int steps = 0;
        while (steps < kLimit && r * r + i * i < 4) {
          const double next = r * r - i * i + cr;
          i = 2 * r * i + ci;
          r = next;
          ++steps;
        }
        hash = Mix(hash, steps);
      }
    }
  }
  return hash;
}

}  // namespace programs
