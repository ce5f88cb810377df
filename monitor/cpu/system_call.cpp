// SYSENTER and SYSEXIT (SDM 2B): flat segments by definition, no descriptor is read.
#include "monitor/cpu/descriptor.h"
#include "monitor/cpu/interrupts.h"

namespace ring3 {
namespace {

constexpr uint16_t kFlatData =
    segattr::kPresent | segattr::kS | segattr::kWritable | segattr::kAccessed | segattr::kDb | segattr::kG;
constexpr uint16_t kFlatCode = kFlatData | segattr::kCode;
// Offsets from IA32_SYSENTER_CS in the GDT.
constexpr uint16_t kKernelStack = 8, kUserCode = 16, kUserStack = 24;

void CheckUsable(const Cpu& cpu) {
  if (!cpu.model.Has(cpuid_edx::kSep)) ThrowFault(Vector::kInvalidOpcode);
  const bool configured = !IsNull(static_cast<uint16_t>(cpu.state.sysenter_cs));
  if (!cpu.state.ProtectedMode() || !configured) ThrowFault(Vector::kGeneralProtection, 0);
}

SegmentRegister Flat(uint32_t selector, uint16_t attributes, unsigned cpl) {
  return {static_cast<uint16_t>((selector & 0xFFFC) | cpl),
          static_cast<uint16_t>(attributes | cpl << segattr::kDplShift), 0, 0xFFFF'FFFF};
}

}  // namespace

void SystemEnter(Cpu& cpu) {
  CheckUsable(cpu);
  CpuState& state = cpu.state;
  state.eflags &= ~(eflags::kVm | eflags::kIf | eflags::kRf);
  state.Segment(Seg::kCs) = Flat(state.sysenter_cs, kFlatCode, 0);
  state.Segment(Seg::kSs) = Flat(state.sysenter_cs + kKernelStack, kFlatData, 0);
  state.gpr[kEsp] = state.sysenter_esp;
  state.eip = state.sysenter_eip;
  state.cpl = 0;
}

void SystemExit(Cpu& cpu) {
  CheckUsable(cpu);
  if (cpu.state.cpl != 0) ThrowFault(Vector::kGeneralProtection, 0);
  CpuState& state = cpu.state;
  state.Segment(Seg::kCs) = Flat(state.sysenter_cs + kUserCode, kFlatCode, 3);
  state.Segment(Seg::kSs) = Flat(state.sysenter_cs + kUserStack, kFlatData, 3);
  state.gpr[kEsp] = state.gpr[kEcx];
  state.eip = state.gpr[kEdx];
  state.cpl = 3;
}

}  // namespace ring3
