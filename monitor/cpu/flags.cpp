// EFLAGS as PUSHF, POPF, STI and CLI see it, and the right to use I/O ports (SDM 1 19.5; 2B POPF; no VME, no PVI).
#include "monitor/cpu/descriptor.h"
#include "monitor/cpu/privileged.h"

namespace ring3 {
namespace {

constexpr uint32_t kAlwaysWritable = eflags::kCf | eflags::kPf | eflags::kAf | eflags::kZf | eflags::kSf | eflags::kTf |
                                     eflags::kDf | eflags::kOf | eflags::kNt | eflags::kAc | eflags::kId;
constexpr uint32_t kLowHalf = 0xFFFF;

void RequireIoplInV86(const CpuState& state) {
  if (state.V86() && state.Iopl() < 3) ThrowFault(Vector::kGeneralProtection, 0);
}

/// CPL is 0 in real mode and 3 in V86 mode, so this one comparison covers all three.
bool HasIoPrivilege(const CpuState& state) { return state.cpl <= state.Iopl(); }

// SDM 3A figure 7-11.
constexpr uint32_t kIoMapBaseOffset = 0x66;

}  // namespace

uint32_t PopFlagsValue(const Cpu& cpu, uint32_t value, OperandSize size) {
  const CpuState& state = cpu.state;
  RequireIoplInV86(state);
  uint32_t mask = kAlwaysWritable;
  if (HasIoPrivilege(state)) mask |= eflags::kIf;
  if (state.cpl == 0) mask |= eflags::kIopl;
  if (size == OperandSize::k16) mask &= kLowHalf;
  const uint32_t cleared = size == OperandSize::k32 ? eflags::kRf : 0;
  return (state.eflags & ~mask & ~cleared) | (value & mask) | eflags::kReserved1;
}

uint32_t PushFlagsValue(const Cpu& cpu) {
  RequireIoplInV86(cpu.state);
  return cpu.state.eflags & ~(eflags::kRf | eflags::kVm);
}

void SetInterruptFlag(Cpu& cpu, bool enable) {
  CpuState& state = cpu.state;
  if (!HasIoPrivilege(state)) ThrowFault(Vector::kGeneralProtection, 0);
  if (!enable) {
    state.eflags &= ~eflags::kIf;
    return;
  }
  if (!(state.eflags & eflags::kIf)) state.interrupt_shadow = true;
  state.eflags |= eflags::kIf;
}

void CheckPortAccess(Cpu& cpu, uint16_t port, unsigned size) {
  const CpuState& state = cpu.state;
  if (!state.ProtectedMode() || (HasIoPrivilege(state) && !state.V86())) return;
  const SegmentRegister& tr = state.tr;
  const bool has_map = tr.Present() && (tr.attributes & systype::k32Bit) && tr.limit >= kIoMapBaseOffset + 1;
  if (!has_map) ThrowFault(Vector::kGeneralProtection, 0);
  const uint32_t base = cpu.memory.Read<uint16_t>(GuestLinear(tr.base + kIoMapBaseOffset), kImplicitRead);
  const uint32_t offset = base + port / 8;
  if (offset + 1 > tr.limit) ThrowFault(Vector::kGeneralProtection, 0);  // two bytes are read for any port
  const auto map = cpu.memory.Read<uint16_t>(GuestLinear(tr.base + offset), kImplicitRead);
  const unsigned wanted = ((1u << size) - 1) << (port % 8);
  if (map & wanted) ThrowFault(Vector::kGeneralProtection, 0);
}

}  // namespace ring3
