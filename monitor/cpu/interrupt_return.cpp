// IRET in all its forms (SDM 2A IRET/IRETD).
#include <array>

#include "monitor/cpu/descriptor.h"
#include "monitor/cpu/interrupts.h"
#include "monitor/cpu/privileged.h"
#include "monitor/cpu/return_flags.h"
#include "monitor/cpu/segment_checks.h"
#include "monitor/cpu/stack_view.h"

namespace ring3 {
namespace {

constexpr uint8_t kIretOpcode = 0xCF;
constexpr uint32_t kMaxInstructionBytes = 15;

/// IRET is one byte behind its prefixes.
uint32_t AddressAfterIret(const Cpu& cpu) {
  const uint32_t eip = cpu.state.eip;
  for (uint32_t length = 1; length <= kMaxInstructionBytes; ++length) {
    const GuestLinear byte = CheckedLinear(cpu, Seg::kCs, eip + length - 1, 1, AccessType::kFetch);
    if (cpu.memory.Read<uint8_t>(byte, {AccessType::kFetch, cpu.User()}) == kIretOpcode) return eip + length;
  }
  ThrowFault(Vector::kGeneralProtection, 0);
}

void ReturnToPreviousTask(Cpu& cpu) {
  const auto link = cpu.memory.Read<uint16_t>(GuestLinear(cpu.state.tr.base), kImplicitRead);
  SwitchTask(cpu, link, TaskSwitchSource::kReturn, AddressAfterIret(cpu));
}

struct Popped {
  uint32_t eip, cs, eflags;
  uint16_t CsSelector() const { return static_cast<uint16_t>(cs); }
};

void ReturnToV86(Cpu& cpu, const Popped& popped, StackView& stack) {
  CpuState& state = cpu.state;
  std::array<uint32_t, 6> rest;  // ESP SS ES DS FS GS
  stack.PopAll(cpu, rest, OperandSize::k32);
  const SegmentRegister cs = V86Segment(Seg::kCs, popped.CsSelector());
  CheckCodeLimit(cs, popped.eip);
  state.Segment(Seg::kCs) = cs;
  constexpr std::array<Seg, 5> kOrder{Seg::kSs, Seg::kEs, Seg::kDs, Seg::kFs, Seg::kGs};
  for (unsigned i = 0; i < kOrder.size(); ++i) {
    state.Segment(kOrder[i]) = V86Segment(kOrder[i], static_cast<uint16_t>(rest[i + 1]));
  }
  state.gpr[kEsp] = rest[0];
  state.eip = popped.eip;
  state.eflags = (popped.eflags & eflags::kDefined) | eflags::kReserved1;
  state.cpl = 3;
}

void ReturnOuter(Cpu& cpu, const Popped& popped, const CheckedSegment& cs, uint32_t new_eflags, StackView& stack,
                 OperandSize size) {
  CpuState& state = cpu.state;
  std::array<uint32_t, 2> outer;  // ESP SS
  stack.PopAll(cpu, outer, size);
  const unsigned cpl = Rpl(popped.CsSelector());
  const CheckedSegment ss = CheckReturnStack(cpu, static_cast<uint16_t>(outer[1]), cpl);
  CheckCodeLimit(cs, popped.eip);
  cs.MarkAccessed(cpu);
  ss.MarkAccessed(cpu);
  // Only SP is loaded for a 16-bit stack; the upper half keeps the inner stack's value, as on hardware.
  state.gpr[kEsp] = ss.Big() ? outer[0] : (state.gpr[kEsp] & 0xFFFF'0000) | (outer[0] & 0xFFFF);
  state.Segment(Seg::kSs) = ss;
  state.Segment(Seg::kCs) = cs;
  state.eip = popped.eip;
  state.eflags = new_eflags;
  state.cpl = static_cast<uint8_t>(cpl);
  NullInaccessibleSegments(state);
}

}  // namespace

void InterruptReturn(Cpu& cpu, OperandSize size) {
  CpuState& state = cpu.state;
  state.nmi_blocked = false;
  const bool virtual_if = state.V86() && state.Iopl() < 3;
  if (virtual_if) RequireV86Extensions(state, size);
  const bool descriptors = UsesDescriptors(state);
  if (descriptors && (state.eflags & eflags::kNt)) return ReturnToPreviousTask(cpu);

  StackView stack(state);
  std::array<uint32_t, 3> values;
  stack.PopAll(cpu, values, size);
  const Popped popped{values[0], values[1], values[2]};
  if (descriptors && state.cpl == 0 && (popped.eflags & eflags::kVm)) return ReturnToV86(cpu, popped, stack);

  const CheckedSegment cs = descriptors
                                ? CheckReturnCode(cpu, popped.CsSelector())
                                : CheckedSegment(SegmentWithoutDescriptor(state, Seg::kCs, popped.CsSelector()));
  const uint32_t new_eflags =
      virtual_if ? V86FlagsWithVirtualIf(state, popped.eflags) : ReturnedFlags(state.eflags, state.cpl, state.ProtectedMode(), popped.eflags, size);
  if (descriptors && Rpl(cs.selector) != state.cpl) return ReturnOuter(cpu, popped, cs, new_eflags, stack, size);
  CheckCodeLimit(cs, popped.eip);
  cs.MarkAccessed(cpu);
  state.gpr[kEsp] = stack.Esp();
  state.Segment(Seg::kCs) = cs;
  state.eip = popped.eip;
  state.eflags = new_eflags;
}

}  // namespace ring3
