// A second page walker, written straight from SDM 3A tables 4-3 to 4-11 with no code in common with the real one.
#pragma once

#include <vector>

#include "shadowmmu/paging.h"

namespace ring3 {

struct ReferenceWalk {
  bool ok = false;
  uint32_t error_code = 0;
  uint64_t physical = 0;  // of the byte
  bool writable = false, user = false, executable = false, global = false, dirty = false;
  uint64_t page_bytes = 0;
};

/// Walks `ram` (and updates A and D there) as a processor would. Addresses beyond it and
/// in the VGA hole read as all ones.
ReferenceWalk WalkByTheBook(std::vector<uint8_t>& ram, const PagingState& paging, uint32_t linear, Access access);

}  // namespace ring3
