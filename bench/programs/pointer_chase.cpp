// A linked list through 4 MiB in random order: nothing but dependent loads.
#include <stdlib.h>

#include "programs.h"

namespace programs {

uint32_t PointerChase(uint32_t size) {
  struct Node {
    Node* next;
    uint32_t number;
  };
  constexpr uint32_t kNodes = 1u << 19;
  auto* nodes = static_cast<Node*>(malloc(kNodes * sizeof(Node)));
  for (uint32_t i = 0; i < kNodes; ++i) nodes[i].number = i;
  Random random(3);
  for (uint32_t i = kNodes - 1; i > 0; --i) {  // Sattolo: one cycle through all
    const uint32_t j = random.Next() % i;
    const uint32_t held = nodes[i].number;
    nodes[i].number = nodes[j].number;
    nodes[j].number = held;
  }
  for (uint32_t i = 0; i < kNodes; ++i) nodes[i].next = &nodes[nodes[i].number];
  uint32_t hash = kMixStart;
  const Node* at = nodes;
  for (uint32_t i = 0; i < size; ++i) at = at->next;
  hash = Mix(hash, at->number);
  free(nodes);
  return hash;
}

}  // namespace programs
