// EFLAGS as IRET leaves it.
#pragma once

#include "monitor/cpu/cpu_state.h"
#include "monitor/cpu/segments.h"

namespace ring3 {

/// EFLAGS after IRET at `cpl` to the same or an outer level, in any mode but the return to V86.
inline uint32_t ReturnedFlags(uint32_t held, unsigned cpl, bool protected_mode, uint32_t image, OperandSize size) {
  uint32_t mask = eflags::kCf | eflags::kPf | eflags::kAf | eflags::kZf | eflags::kSf | eflags::kTf | eflags::kDf |
                  eflags::kOf | eflags::kNt | eflags::kRf | eflags::kAc | eflags::kId;
  if (cpl <= (held & eflags::kIopl) >> eflags::kIoplShift) mask |= eflags::kIf;
  if (cpl == 0) mask |= eflags::kIopl;
  if (cpl == 0 && protected_mode) mask |= eflags::kVif | eflags::kVip;
  if (size == OperandSize::k16) mask &= 0xFFFF;
  return (held & ~mask) | (image & mask) | eflags::kReserved1;
}

}  // namespace ring3
