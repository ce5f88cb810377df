// The processor as the monitor's instruction semantics see it: state plus what it is wired to.
#pragma once

#include "devices/port_bus.h"
#include "monitor/cpu/breakpoints.h"
#include "monitor/cpu/cpu_model.h"
#include "monitor/cpu/cpu_state.h"
#include "monitor/cpu/fault.h"
#include "shadowmmu/linear_memory.h"
#include "shadowmmu/shadow_mmu.h"

namespace ring3 {

/// Whoever keeps the guest's x87/MMX/SSE state in the host's registers between instructions.
class FpuKeeper {
 public:
  virtual ~FpuKeeper() = default;
  /// Makes cpu.state.fxsave and ymm_high the guest's state, to be read and changed.
  virtual void StoreFpu() = 0;
};

/// Stands between the processor and the host's time-stamp counter, in runs that are recorded or replayed.
class HostCounter {
 public:
  virtual ~HostCounter() = default;
  virtual uint64_t ReadCounter() = 0;
};

struct Cpu {
  CpuState state;
  const CpuModel& model;
  LinearMemory& memory;
  ShadowMmu& mmu;
  PortBus& ports;
  bool a20_enabled = true;
  FpuKeeper* fpu_keeper = nullptr;  // none: cpu.state.fxsave is always current
  Breakpoints breakpoints{};
  BreakpointListener* breakpoint_listener = nullptr;
  /// Off: nobody keeps opcode and pointers of the last x87 instruction (lockstep: hosts may lose them at any time).
  bool x87_pointers = true;
  HostCounter* host_counter = nullptr;  // none: the host's own

  PagingState Paging() const { return PagingState::From(state, a20_enabled, model.Has(cpuid_edx::kPse36)); }
  bool User() const { return state.cpl == 3; }
  Access Read() const { return {AccessType::kRead, User()}; }
  Access Write() const { return {AccessType::kWrite, User()}; }

  /// To be called before state.fxsave or ymm_high is used or XCR0 changes.
  void StoreFpu() {
    if (fpu_keeper) fpu_keeper->StoreFpu();
    if (!x87_pointers) ForgetX87Pointers();
  }
  /// Opcode and pointers of the last x87 instruction read as zero from here on.
  void ForgetX87Pointers();
  /// After CR0, CR4, EFER or A20 changed, or a task switch: both memories adopt the new paging state.
  void PagingChanged();
  /// After DR0-DR3, DR7 or CR4.DE changed: breakpoints are armed and disarmed.
  void DebugRegistersChanged();
  /// After MOV CR3: the same, but pages marked global stay.
  void Cr3Loaded();
};

}  // namespace ring3
