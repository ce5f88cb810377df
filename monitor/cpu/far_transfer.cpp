// Far JMP, CALL and RET: direct, through call gates, and into tasks (SDM 2A CALL, JMP; 2B RET).
#include <array>

#include "monitor/cpu/descriptor.h"
#include "monitor/cpu/interrupts.h"
#include "monitor/cpu/segment_checks.h"
#include "monitor/cpu/segments.h"
#include "monitor/cpu/stack_view.h"

namespace ring3 {
namespace {

uint32_t Truncated(uint32_t value, OperandSize size) { return size == OperandSize::k16 ? value & 0xFFFF : value; }

/// The accessed bit goes first: writing it may still fault.
void CommitCode(Cpu& cpu, const CheckedSegment& cs, uint32_t eip) {
  cs.MarkAccessed(cpu);
  cpu.state.Segment(Seg::kCs) = cs;
  cpu.state.eip = eip;
}

void PushReturnAndCommit(Cpu& cpu, const CheckedSegment& cs, uint32_t eip, OperandSize size, uint32_t return_eip) {
  CpuState& state = cpu.state;
  StackView stack(state);
  const std::array<uint32_t, 2> frame{state.Segment(Seg::kCs).selector, return_eip};
  stack.PushAll(cpu, frame, size);
  CommitCode(cpu, cs, eip);
  state.gpr[kEsp] = stack.Esp();
}

Descriptor FetchDestination(const Cpu& cpu, uint16_t selector) {
  if (IsNull(selector)) ThrowFault(Vector::kGeneralProtection, 0);
  return FetchDescriptor(cpu, selector, Vector::kGeneralProtection);
}

/// Gates and TSS descriptors are used like data: both CPL and RPL must reach their DPL.
void CheckGatePrivilege(const Cpu& cpu, uint16_t selector, const Descriptor& gate) {
  if (gate.Dpl() < cpu.state.cpl || gate.Dpl() < Rpl(selector)) {
    ThrowFault(Vector::kGeneralProtection, SelectorError(selector));
  }
  if (!gate.Present()) ThrowFault(Vector::kSegmentNotPresent, SelectorError(selector));
}

struct GateTarget {
  Descriptor code;
  uint16_t selector;
  uint32_t eip;
};

GateTarget CheckCallGate(const Cpu& cpu, uint16_t selector, const Descriptor& gate, bool is_jump) {
  CheckGatePrivilege(cpu, selector, gate);
  const uint16_t target = gate.GateSelector();
  const Descriptor code = FetchDestination(cpu, target);
  const unsigned cpl = cpu.state.cpl;
  const bool level = is_jump && !code.IsConforming() ? code.Dpl() == cpl : code.Dpl() <= cpl;
  if (!code.IsCode() || !level) ThrowFault(Vector::kGeneralProtection, SelectorError(target));
  if (!code.Present()) ThrowFault(Vector::kSegmentNotPresent, SelectorError(target));
  return {code, target, gate.GateOffset()};
}

CheckedSegment LoadCode(const GateTarget& target, unsigned cpl) {
  return {static_cast<uint16_t>((target.selector & 0xFFFC) | cpl), target.code};
}

/// CALL through a gate to more privilege: new stack from the TSS, parameters copied from the old one.
void CallInnerLevel(Cpu& cpu, const GateTarget& target, unsigned parameters, OperandSize size, uint32_t return_eip) {
  CpuState& state = cpu.state;
  const unsigned cpl = target.code.Dpl();
  const InnerStack inner = LoadInnerStack(cpu, cpl, 0);

  std::array<uint32_t, StackView::kMaxValues> frame;
  const SegmentRegister& old_ss = state.Segment(Seg::kSs);
  frame[0] = old_ss.selector;
  frame[1] = state.gpr[kEsp];
  std::array<uint32_t, 31> copied;
  StackView(state).PopAll(cpu, {copied.data(), parameters}, size);
  for (unsigned i = 0; i < parameters; ++i) frame[2 + i] = copied[parameters - 1 - i];
  frame[2 + parameters] = state.Segment(Seg::kCs).selector;
  frame[3 + parameters] = return_eip;

  const CheckedSegment cs = LoadCode(target, cpl);
  StackView stack(inner.ss, inner.esp, cpl, SelectorError(inner.ss.selector));
  CheckCodeLimit(cs, target.eip);
  stack.PushAll(cpu, {frame.data(), parameters + 4}, size);

  inner.ss.MarkAccessed(cpu);
  CommitCode(cpu, cs, target.eip);
  state.Segment(Seg::kSs) = inner.ss;
  state.gpr[kEsp] = stack.Esp();
  state.cpl = static_cast<uint8_t>(cpl);
}

void CallThroughGate(Cpu& cpu, uint16_t selector, const Descriptor& gate, uint32_t return_eip) {
  const GateTarget target = CheckCallGate(cpu, selector, gate, false);
  const OperandSize size = gate.Is32Bit() ? OperandSize::k32 : OperandSize::k16;
  if (!target.code.IsConforming() && target.code.Dpl() < cpu.state.cpl) {
    CallInnerLevel(cpu, target, gate.GateParameters(), size, return_eip);
    return;
  }
  const CheckedSegment cs = LoadCode(target, cpu.state.cpl);
  CheckCodeLimit(cs, target.eip);
  PushReturnAndCommit(cpu, cs, target.eip, size, return_eip);
}

void JumpThroughGate(Cpu& cpu, uint16_t selector, const Descriptor& gate) {
  const GateTarget target = CheckCallGate(cpu, selector, gate, true);
  const CheckedSegment cs = LoadCode(target, cpu.state.cpl);
  CheckCodeLimit(cs, target.eip);
  CommitCode(cpu, cs, target.eip);
}

/// Far JMP or CALL to a system descriptor that is not a call gate.
void TransferToTask(Cpu& cpu, uint16_t selector, const Descriptor& descriptor, TaskSwitchSource source,
                    uint32_t return_eip) {
  if (descriptor.Type() != systype::kTaskGate && !descriptor.IsTss()) {
    ThrowFault(Vector::kGeneralProtection, SelectorError(selector));
  }
  CheckGatePrivilege(cpu, selector, descriptor);
  SwitchTask(cpu, descriptor.IsTss() ? selector : descriptor.GateSelector(), source, return_eip);
}

bool IsCallGate(const Descriptor& descriptor) {
  return descriptor.Type() == systype::kCallGate16 || descriptor.Type() == systype::kCallGate32;
}

}  // namespace

void FarJump(Cpu& cpu, uint16_t selector, uint32_t offset, OperandSize size, uint32_t return_eip) {
  const uint32_t eip = Truncated(offset, size);
  if (!UsesDescriptors(cpu.state)) {
    const CheckedSegment cs = SegmentWithoutDescriptor(cpu.state, Seg::kCs, selector);
    CheckCodeLimit(cs, eip);
    CommitCode(cpu, cs, eip);
    return;
  }
  const Descriptor descriptor = FetchDestination(cpu, selector);
  if (!descriptor.IsSystem()) {
    const CheckedSegment cs = CheckDirectCode(cpu, selector, descriptor);
    CheckCodeLimit(cs, eip);
    CommitCode(cpu, cs, eip);
  } else if (IsCallGate(descriptor)) {
    JumpThroughGate(cpu, selector, descriptor);
  } else {
    TransferToTask(cpu, selector, descriptor, TaskSwitchSource::kJump, return_eip);
  }
}

void FarCall(Cpu& cpu, uint16_t selector, uint32_t offset, OperandSize size, uint32_t return_eip) {
  const uint32_t eip = Truncated(offset, size);
  if (!UsesDescriptors(cpu.state)) {
    const CheckedSegment cs = SegmentWithoutDescriptor(cpu.state, Seg::kCs, selector);
    CheckCodeLimit(cs, eip);
    PushReturnAndCommit(cpu, cs, eip, size, return_eip);
    return;
  }
  const Descriptor descriptor = FetchDestination(cpu, selector);
  if (!descriptor.IsSystem()) {
    const CheckedSegment cs = CheckDirectCode(cpu, selector, descriptor);
    CheckCodeLimit(cs, eip);
    PushReturnAndCommit(cpu, cs, eip, size, return_eip);
  } else if (IsCallGate(descriptor)) {
    CallThroughGate(cpu, selector, descriptor, return_eip);
  } else {
    TransferToTask(cpu, selector, descriptor, TaskSwitchSource::kCall, return_eip);
  }
}

void FarReturn(Cpu& cpu, OperandSize size, uint16_t pop_bytes) {
  CpuState& state = cpu.state;
  StackView stack(state);
  std::array<uint32_t, 2> target;  // EIP, CS
  stack.PopAll(cpu, target, size);
  const auto selector = static_cast<uint16_t>(target[1]);
  const bool descriptors = UsesDescriptors(state);
  const CheckedSegment cs = descriptors ? CheckReturnCode(cpu, selector)
                                        : CheckedSegment(SegmentWithoutDescriptor(state, Seg::kCs, selector));
  CheckCodeLimit(cs, target[0]);
  stack.Drop(pop_bytes);
  if (!descriptors || Rpl(selector) == state.cpl) {
    CommitCode(cpu, cs, target[0]);
    state.gpr[kEsp] = stack.Esp();
    return;
  }
  std::array<uint32_t, 2> outer;  // ESP, SS
  stack.PopAll(cpu, outer, size);
  const CheckedSegment ss = CheckReturnStack(cpu, static_cast<uint16_t>(outer[1]), Rpl(selector));
  StackView outer_stack(ss, ss.Big() ? outer[0] : (state.gpr[kEsp] & 0xFFFF'0000) | (outer[0] & 0xFFFF), Rpl(selector),
                        0);
  outer_stack.Drop(pop_bytes);
  ss.MarkAccessed(cpu);
  CommitCode(cpu, cs, target[0]);
  state.gpr[kEsp] = outer_stack.Esp();
  state.Segment(Seg::kSs) = ss;
  state.cpl = static_cast<uint8_t>(Rpl(selector));
  NullInaccessibleSegments(state);
}

}  // namespace ring3
