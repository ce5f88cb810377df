// Alignment checks of data accesses (SDM 3A 6.15, interrupt 17). Accesses that an instruction makes with supervisor
// rights (descriptor tables, the TSS, inner stacks) and fetches are exempt.
#pragma once

#include "monitor/cpu/cpu_state.h"
#include "monitor/cpu/raise.h"
#include "shadowmmu/address.h"

namespace ring3 {

inline bool AlignmentChecked(const CpuState& state) {
  return state.cpl == 3 && (state.cr0 & cr0::kAm) && (state.eflags & eflags::kAc);
}

/// Throws #AC(`ext`) for an access at CPL 3 that is not a multiple of `alignment`, a power of two, while they are on.
inline void CheckAlignment(const CpuState& state, GuestLinear address, unsigned alignment, uint32_t ext = 0) {
  if ((address.value & (alignment - 1)) && AlignmentChecked(state)) [[unlikely]]
    ThrowFault(Vector::kAlignmentCheck, ext);
}

}  // namespace ring3
