// The state that SYSENTER and SYSEXIT load (SDM 2B): flat segments by definition, no descriptor is read.
#pragma once

#include "monitor/cpu/cpu_state.h"

namespace ring3 {

namespace system_call {
inline constexpr uint16_t kFlatData =
    segattr::kPresent | segattr::kS | segattr::kWritable | segattr::kAccessed | segattr::kDb | segattr::kG;
inline constexpr uint16_t kFlatCode = kFlatData | segattr::kCode;
// Offsets from IA32_SYSENTER_CS in the GDT.
inline constexpr uint16_t kKernelStack = 8, kUserCode = 16, kUserStack = 24;

inline SegmentRegister Flat(uint32_t selector, uint16_t attributes, unsigned cpl) {
  return {static_cast<uint16_t>((selector & 0xFFFC) | cpl),
          static_cast<uint16_t>(attributes | cpl << segattr::kDplShift), 0, 0xFFFF'FFFF};
}
}  // namespace system_call

/// SYSENTER, but for EFLAGS.
inline void EnterKernel(CpuState& state) {
  using namespace system_call;
  state.Segment(Seg::kCs) = Flat(state.sysenter_cs, kFlatCode, 0);
  state.Segment(Seg::kSs) = Flat(state.sysenter_cs + kKernelStack, kFlatData, 0);
  state.gpr[kEsp] = state.sysenter_esp;
  state.eip = state.sysenter_eip;
  state.cpl = 0;
}

/// SYSEXIT.
inline void ExitKernel(CpuState& state) {
  using namespace system_call;
  state.Segment(Seg::kCs) = Flat(state.sysenter_cs + kUserCode, kFlatCode, 3);
  state.Segment(Seg::kSs) = Flat(state.sysenter_cs + kUserStack, kFlatData, 3);
  state.gpr[kEsp] = state.gpr[kEcx];
  state.eip = state.gpr[kEdx];
  state.cpl = 3;
}

}  // namespace ring3
