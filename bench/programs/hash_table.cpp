// Open addressing: insertions and lookups over a few megabytes.
#include <stdlib.h>

#include "programs.h"

namespace programs {
namespace {

struct Entry {
  uint32_t key, value;
};

constexpr uint32_t kSlots = 1u << 18;

uint32_t SlotOf(uint32_t key) { return key * 2654435761u >> 14; }

Entry* Find(Entry* table, uint32_t key) {
  uint32_t slot = SlotOf(key);
  while (table[slot].key != 0 && table[slot].key != key) slot = (slot + 1) % kSlots;
  return &table[slot];
}

}  // namespace

uint32_t HashTable(uint32_t size) {
  auto* table = static_cast<Entry*>(calloc(kSlots, sizeof(Entry)));
  Random random(2);
  uint32_t hash = kMixStart;
  for (uint32_t i = 0; i < size; ++i) {
    const uint32_t key = random.Next() % (kSlots / 2) + 1;
    Entry* entry = Find(table, key);
    entry->key = key;
    hash = Mix(hash, ++entry->value);
  }
  free(table);
  return hash;
}

}  // namespace programs
