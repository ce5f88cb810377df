// SYSENTER and SYSEXIT (SDM 2B).
#include "monitor/cpu/descriptor.h"
#include "monitor/cpu/interrupts.h"
#include "monitor/cpu/system_call_segments.h"

namespace ring3 {
namespace {

void CheckUsable(const Cpu& cpu) {
  if (!cpu.model.Has(cpuid_edx::kSep)) ThrowFault(Vector::kInvalidOpcode);
  const bool configured = !IsNull(static_cast<uint16_t>(cpu.state.sysenter_cs));
  if (!cpu.state.ProtectedMode() || !configured) ThrowFault(Vector::kGeneralProtection, 0);
}

}  // namespace

void SystemEnter(Cpu& cpu) {
  CheckUsable(cpu);
  CpuState& state = cpu.state;
  state.eflags &= ~(eflags::kVm | eflags::kIf | eflags::kRf);
  EnterKernel(state);
}

void SystemExit(Cpu& cpu) {
  CheckUsable(cpu);
  if (cpu.state.cpl != 0) ThrowFault(Vector::kGeneralProtection, 0);
  ExitKernel(cpu.state);
}

}  // namespace ring3
