// All ways to place n queens: recursion with bit masks.
#include "programs.h"

namespace programs {
namespace {

[[gnu::noinline]] uint32_t Place(uint32_t all, uint32_t columns, uint32_t left, uint32_t right) {
  if (columns == all) return 1;
  uint32_t ways = 0;
  for (uint32_t free = all & ~(columns | left | right); free != 0;) {
    const uint32_t bit = free & -free;
    free ^= bit;
    ways += Place(all, columns | bit, (left | bit) << 1, (right | bit) >> 1);
  }
  return ways;
}

}  // namespace

uint32_t Queens(uint32_t size) { return Place((1u << size) - 1, 0, 0, 0); }

}  // namespace programs
