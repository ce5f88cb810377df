// What a block writes down of itself when it is entered, in runs that record (lockstep): one record each time, at a
// pointer that the run context holds. Where the room for records ends lies a page that cannot be written.
#pragma once

#include <array>
#include <cstdint>

#include "monitor/cpu/cpu_state.h"

namespace ring3 {

struct BlockRecord {
  static constexpr uint32_t kTag = 1;  // tells it from whatever else its reader finds between two records

  uint32_t tag = kTag;
  uint32_t eip = 0;
  uint64_t flags = 0;  // the host's; the guest's are those in eflags::kHostHeld
  std::array<uint32_t, kGprCount> gpr{};
  uint32_t host_offset = 0;  // of the block, in the code cache
  uint32_t instructions = 0;  // of the block
  std::array<uint32_t, 2> unused{};
};
static_assert(sizeof(BlockRecord) == 64, "generated code steps by this");

/// Gives generated code room for records.
class BlockRecordRoom {
 public:
  virtual ~BlockRecordRoom() = default;
  /// True for addresses in the unwritable page where the present room ends.
  virtual bool IsEnd(uint64_t host_address) const = 0;
  /// The present room is full: where to go on. Called in the SIGSEGV handler; may wait.
  virtual uint64_t NextRoom() = 0;
};

}  // namespace ring3
