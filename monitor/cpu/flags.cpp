// EFLAGS as PUSHF, POPF, STI and CLI see it, and the right to use I/O ports (SDM 1 19.5; 2B POPF;
// 3B 20.3 and 20.4: virtual interrupts).
#include "monitor/cpu/descriptor.h"
#include "monitor/cpu/privileged.h"

namespace ring3 {
namespace {

constexpr uint32_t kAlwaysWritable = eflags::kCf | eflags::kPf | eflags::kAf | eflags::kZf | eflags::kSf | eflags::kTf |
                                     eflags::kDf | eflags::kOf | eflags::kNt | eflags::kAc | eflags::kId;
constexpr uint32_t kLowHalf = 0xFFFF;

/// CPL is 0 in real mode and 3 in V86 mode, so this one comparison covers all three.
bool HasIoPrivilege(const CpuState& state) { return state.cpl <= state.Iopl(); }

/// V86 mode in which PUSHF, POPF, IRET and INT n ask for IOPL 3.
bool IoplSensitive(const CpuState& state) { return state.V86() && state.Iopl() < 3; }

// SDM 3A figure 7-11.
constexpr uint32_t kIoMapBaseOffset = 0x66;

}  // namespace

void RequireV86Extensions(const CpuState& state, OperandSize size) {
  if (!(state.cr4 & cr4::kVme) || size != OperandSize::k16) ThrowFault(Vector::kGeneralProtection, 0);
}

uint32_t V86FlagsWithVirtualIf(const CpuState& state, uint32_t image) {
  const bool enables_pending = (image & eflags::kIf) && (state.eflags & eflags::kVip);
  if (enables_pending || (image & eflags::kTf)) ThrowFault(Vector::kGeneralProtection, 0);
  constexpr uint32_t kMask = kAlwaysWritable & kLowHalf;
  const uint32_t kept = state.eflags & ~kMask & ~eflags::kVif;
  return kept | (image & kMask) | (image & eflags::kIf ? eflags::kVif : 0) | eflags::kReserved1;
}

uint32_t V86ImageWithVirtualIf(const CpuState& state) {
  const uint32_t interrupt_flag = state.eflags & eflags::kVif ? eflags::kIf : 0;
  return (state.eflags & kLowHalf & ~eflags::kIf) | interrupt_flag | eflags::kIopl;
}

uint32_t PopFlagsValue(const Cpu& cpu, uint32_t value, OperandSize size) {
  const CpuState& state = cpu.state;
  if (IoplSensitive(state)) {
    RequireV86Extensions(state, size);
    return V86FlagsWithVirtualIf(state, value);
  }
  uint32_t mask = kAlwaysWritable;
  if (HasIoPrivilege(state)) mask |= eflags::kIf;
  if (state.cpl == 0) mask |= eflags::kIopl;
  if (size == OperandSize::k16) mask &= kLowHalf;
  const uint32_t cleared = size == OperandSize::k32 ? eflags::kRf : 0;
  return (state.eflags & ~mask & ~cleared) | (value & mask) | eflags::kReserved1;
}

uint32_t PushFlagsValue(const Cpu& cpu, OperandSize size) {
  const CpuState& state = cpu.state;
  if (!IoplSensitive(state)) return state.eflags & ~(eflags::kRf | eflags::kVm);
  RequireV86Extensions(state, size);
  return V86ImageWithVirtualIf(state);
}

void SetInterruptFlag(Cpu& cpu, bool enable) {
  CpuState& state = cpu.state;
  uint32_t flag = eflags::kIf;
  if (!HasIoPrivilege(state)) {
    const bool is_virtual = state.cpl == 3 && (state.cr4 & (state.V86() ? cr4::kVme : cr4::kPvi));
    const bool pending = enable && (state.eflags & eflags::kVip);
    if (!is_virtual || pending) ThrowFault(Vector::kGeneralProtection, 0);
    flag = eflags::kVif;
  } else if (enable && !(state.eflags & eflags::kIf)) {
    state.interrupt_shadow = true;
  }
  state.eflags = enable ? state.eflags | flag : state.eflags & ~flag;
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
