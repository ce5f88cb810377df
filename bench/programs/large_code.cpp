// Thousands of functions, called through a table in an order that no predictor knows.
#include "programs.h"

namespace programs {
namespace {

template <uint32_t n>
[[gnu::noinline]] uint32_t Function(uint32_t x) {
  if ((x >> n % 13 & 1) != 0) return x * (2 * n + 1) + n;
  return (x ^ n * 2654435761u) + (x >> (n % 7 + 1));
}

using Pointer = uint32_t (*)(uint32_t);
constexpr uint32_t kFunctions = 4096;
Pointer table[kFunctions];

template <uint32_t first, uint32_t count>
void Fill() {
  if constexpr (count == 1) {
    table[first] = Function<first>;
  } else {
    Fill<first, count / 2>();
    Fill<first + count / 2, count / 2>();
  }
}

}  // namespace

uint32_t LargeCode(uint32_t size) {
  Fill<0, kFunctions>();
  uint32_t x = 1;
  Random random(8);
  for (uint32_t i = 0; i < size; ++i) x = table[random.Next() % kFunctions](x);
  return x;
}

}  // namespace programs
