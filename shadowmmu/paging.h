// Guest paging: the control-register bits that select a mode, and the walk of the guest's tables (SDM 3A chapter 4).
#pragma once

#include <array>
#include <cstdint>

#include "monitor/cpu/cpu_state.h"
#include "shadowmmu/address.h"
#include "shadowmmu/physical_memory.h"

namespace ring3 {

enum class AccessType : uint8_t { kRead, kWrite, kFetch };

struct Access {
  AccessType type = AccessType::kRead;
  bool user = false;  // made at CPL 3; implicit accesses to descriptor tables are supervisor ones
};

/// All that a walk depends on besides the tables in memory.
struct PagingState {
  uint32_t cr0 = 0, cr3 = 0, cr4 = 0;
  uint64_t efer = 0;
  std::array<uint64_t, 4> pdpte{};
  bool a20_enabled = true;  // off: bit 20 of every guest-physical address reads as 0
  bool pse36 = false;       // the processor has it: entries of 4 MiB pages hold 36-bit addresses

  static PagingState From(const CpuState& cpu, bool a20_enabled, bool pse36 = false);
  bool operator==(const PagingState&) const = default;
};

/// Page-fault error code bits, SDM 3A figure 4-12.
namespace pferr {
inline constexpr uint32_t kPresent = 1, kWrite = 2, kUser = 4, kReserved = 8, kFetch = 16;
}

/// One successful walk. Rights are those of the whole walk, not of the last entry alone.
struct Translation {
  GuestPhysical page;       // of the 4 KiB page asked for, after A20
  uint64_t page_bytes = 0;  // 4 KiB, 2 MiB or 4 MiB; 4 GiB with paging off
  bool writable = false;    // R/W set in every level
  bool user = false;        // U/S set in every level
  bool executable = true;
  bool global = false;
  bool dirty = false;  // leaf D bit after the walk
  // Where the rights came from, for snapshots: the last entry that was read and, for 4 KiB pages, the directory entry
  // above it. Entry values are as they stand after the walk set A and D. Address 0 and value 0 with paging off.
  GuestPhysical pde_address, pte_address;
  uint64_t pde = 0, pte = 0;
};

struct WalkResult {
  bool ok = false;
  uint32_t error_code = 0;  // pferr bits, when !ok
  Translation translation;
};

/// Walks as hardware does: checks rights, reserved bits and NX, sets Accessed in each level and, for a write, Dirty.
/// Nothing is set when the walk fails.
WalkResult Walk(PhysicalMemory& memory, const PagingState& paging, GuestLinear address, Access access);

/// The same without side effects and without a rights check (for debuggers, dumps and fault-around).
WalkResult Peek(PhysicalMemory& memory, const PagingState& paging, GuestLinear address);

}  // namespace ring3
