// x87 and SSE state.
#pragma once

#include <stdint.h>

namespace demo {

/// FXSAVE's image (SDM 1, table 10-2).
struct FpuState {
  alignas(16) uint8_t image[512];
};

/// Native exceptions, FXSAVE and SSE on; remembers the state after FNINIT.
void EnableFpu();
const FpuState& InitialFpuState();
inline void SaveFpu(FpuState& state) { asm volatile("fxsave %0" : "=m"(state.image)); }
inline void RestoreFpu(const FpuState& state) { asm volatile("fxrstor %0" ::"m"(state.image)); }

/// The section of the report.
void CheckFpu();

}  // namespace demo
