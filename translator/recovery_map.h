// Host PC -> guest state. An expansion commits its effect in one host instruction, so at every host PC of a block the
// guest's state is that before or after one known guest instruction, up to the fix-ups an entry names.
#pragma once

#include <cstdint>
#include <span>

namespace ring3 {

struct RecoveryEntry {
  uint16_t host_offset = 0;         // from the block's start; holds until the next entry's
  int16_t esp_delta = 0;            // bytes to add to ESP
  bool eip_in_scratch : 1 = false;  // EIP is in r8d instead
  bool ebp_in_scratch : 1 = false;  // EBP is in r8d (LEAVE)
  bool busy : 1 = false;  // in the middle of an expansion that cannot fault: an asynchronous signal must step on first
  bool repeating : 1 = false;  // a REP string instruction: what interrupts it here does so between two iterations
  bool shadow : 1 = false;     // the instruction before was STI: no interrupt may be taken here
  uint32_t eip = 0;

  /// Whether the guest's state is where the other says it is.
  bool SameState(const RecoveryEntry& other) const {
    return esp_delta == other.esp_delta && eip_in_scratch == other.eip_in_scratch &&
           ebp_in_scratch == other.ebp_in_scratch && busy == other.busy && repeating == other.repeating &&
           shadow == other.shadow && eip == other.eip;
  }
};
static_assert(sizeof(RecoveryEntry) == 12, "there are some millions of them");

/// The entry that governs `host_offset`, in a map sorted by host_offset whose first entry is at 0.
inline const RecoveryEntry& FindRecovery(std::span<const RecoveryEntry> map, uint32_t host_offset) {
  size_t low = 0, high = map.size();
  while (high - low > 1) {
    size_t middle = (low + high) / 2;
    (map[middle].host_offset <= host_offset ? low : high) = middle;
  }
  return map[low];
}

}  // namespace ring3
