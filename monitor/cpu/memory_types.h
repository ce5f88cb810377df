// Memory type range registers and the memory types of the page attribute table (SDM 3A 11.11, 11.12).
#pragma once

#include <cstdint>

#include "monitor/cpu/cpu_state.h"

namespace ring3 {

/// IA32_MTRR_DEF_TYPE as firmware leaves it: enabled, write-back.
inline constexpr uint64_t kFirmwareMemoryTypes = 1u << 11 | 6;

bool IsMtrr(uint32_t msr);
uint64_t ReadMtrr(const CpuState& state, uint32_t msr);
/// Throws #GP(0) for reserved bits and types, and for IA32_MTRRCAP.
void WriteMtrr(CpuState& state, uint32_t msr, uint64_t value);
/// Throws #GP(0) unless each byte is a type that IA32_PAT may hold.
void CheckPat(uint64_t value);

}  // namespace ring3
