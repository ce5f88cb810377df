// Quicksort that calls a comparison function through a pointer.
#include <stdlib.h>

#include "programs.h"

namespace programs {
namespace {

using Compare = int (*)(const void*, const void*);

int ByValue(const void* a, const void* b) {
  const uint32_t x = *static_cast<const uint32_t*>(a), y = *static_cast<const uint32_t*>(b);
  return x < y ? -1 : x > y;
}

[[gnu::noinline]] void Sort(uint32_t* first, uint32_t* last, Compare compare) {
  while (last - first > 1) {
    const uint32_t pivot = first[(last - first) / 2];
    uint32_t *low = first, *high = last - 1;
    while (low <= high) {
      while (compare(low, &pivot) < 0) ++low;
      while (compare(high, &pivot) > 0) --high;
      if (low > high) break;
      const uint32_t held = *low;
      *low++ = *high;
      *high-- = held;
    }
    Sort(first, high + 1, compare);
    first = low;
  }
}

}  // namespace

uint32_t CallbackSort(uint32_t size) {
  auto* values = static_cast<uint32_t*>(malloc(size * sizeof(uint32_t)));
  Random random(1);
  for (uint32_t i = 0; i < size; ++i) values[i] = random.Next();
  const volatile Compare compare = ByValue;
  Sort(values, values + size, compare);
  uint32_t hash = kMixStart;
  for (uint32_t i = 0; i < size; ++i) hash = Mix(hash, values[i]);
  free(values);
  return hash;
}

}  // namespace programs
