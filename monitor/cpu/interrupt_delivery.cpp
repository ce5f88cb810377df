// Interrupts and exceptions on their way into a handler (SDM 3A chapter 6; 2A INT n; 20.1.4 for real mode).
#include <array>
#include <span>
#include <utility>

#include "monitor/cpu/descriptor.h"
#include "monitor/cpu/interrupts.h"
#include "monitor/cpu/privileged.h"
#include "monitor/cpu/segment_checks.h"
#include "monitor/cpu/stack_view.h"
#include "monitor/cpu/task_switch.h"

namespace ring3 {
namespace {

struct Event {
  uint8_t vector;
  bool check_gate_dpl;  // INT n, INT3, INTO
  uint32_t ext;         // EXT of error codes raised while delivering
  uint32_t return_eip;
  uint32_t saved_eflags;
  std::optional<uint32_t> error_code;
};

constexpr uint32_t kIdtBit = 2;
constexpr uint32_t kGateBytes = 8, kRealModeVectorBytes = 4;
constexpr uint32_t kClearedByGate = eflags::kTf | eflags::kNt | eflags::kRf | eflags::kVm;
constexpr uint32_t kClearedInRealMode = eflags::kIf | eflags::kTf | eflags::kAc | eflags::kRf;

uint32_t IdtError(const Event& event) { return event.vector * kGateBytes | kIdtBit | event.ext; }

/// Enters a handler of 8086 kind: the far pointer at `vector`, a frame of three words.
void EnterRealModeHandler(Cpu& cpu, GuestLinear vector, uint32_t flags_image, uint32_t return_eip) {
  CpuState& state = cpu.state;
  const auto pointer = cpu.memory.Read<uint32_t>(vector, kImplicitRead);
  const SegmentRegister cs = SegmentWithoutDescriptor(state, Seg::kCs, static_cast<uint16_t>(pointer >> 16));
  const uint32_t eip = pointer & 0xFFFF;
  CheckCodeLimit(cs, eip);
  StackView stack(state);
  const std::array<uint32_t, 3> frame{flags_image, state.Segment(Seg::kCs).selector, return_eip};
  stack.PushAll(cpu, frame, OperandSize::k16);
  state.gpr[kEsp] = stack.Esp();
  state.Segment(Seg::kCs) = cs;
  state.eip = eip;
}

void DeliverRealMode(Cpu& cpu, const Event& event) {
  const TableRegister& table = cpu.state.idtr;
  const uint32_t offset = event.vector * kRealModeVectorBytes;
  if (offset + kRealModeVectorBytes - 1 > table.limit) ThrowFault(Vector::kGeneralProtection, IdtError(event));
  EnterRealModeHandler(cpu, GuestLinear(table.base + offset), event.saved_eflags, event.return_eip);
  cpu.state.eflags &= ~kClearedInRealMode;
}

/// The TSS's interrupt redirection bitmap, below its I/O bitmap, sends this vector to the 8086 program (SDM 3B 20.3.3).
bool RedirectedToProgram(const Cpu& cpu, uint8_t vector) {
  constexpr uint32_t kIoMapBaseOffset = 0x66, kBitmapBytes = 32;
  const SegmentRegister& tr = cpu.state.tr;
  if (tr.limit < kIoMapBaseOffset + 1) ThrowFault(Vector::kGeneralProtection, 0);
  const uint32_t io_map = cpu.memory.Read<uint16_t>(GuestLinear(tr.base + kIoMapBaseOffset), kImplicitRead);
  const uint32_t offset = io_map - kBitmapBytes + vector / 8;
  if (offset > tr.limit) ThrowFault(Vector::kGeneralProtection, 0);
  return !(cpu.memory.Read<uint8_t>(GuestLinear(tr.base + offset), kImplicitRead) >> vector % 8 & 1);
}

/// INT n in V86 mode that the program handles itself (SDM 3B table 20-2, methods 5 and 6).
void DeliverToV86Program(Cpu& cpu, uint8_t vector, uint32_t return_eip) {
  CpuState& state = cpu.state;
  const bool real_if = state.Iopl() == 3;
  const uint32_t image = real_if ? state.eflags : V86ImageWithVirtualIf(state);
  EnterRealModeHandler(cpu, GuestLinear(vector * kRealModeVectorBytes), image, return_eip);
  state.eflags &= ~(eflags::kTf | eflags::kRf | (real_if ? eflags::kIf : eflags::kVif));
}

Descriptor CheckHandlerCode(const Cpu& cpu, uint16_t selector, uint32_t ext) {
  if (IsNull(selector)) ThrowFault(Vector::kGeneralProtection, ext);
  const Descriptor code = FetchDescriptor(cpu, selector, Vector::kGeneralProtection, ext);
  const bool v86_needs_ring0 = cpu.state.V86() && (code.IsConforming() || code.Dpl() != 0);
  if (!code.IsCode() || code.Dpl() > cpu.state.cpl) {
    ThrowFault(Vector::kGeneralProtection, SelectorError(selector, ext));
  }
  if (!code.Present()) ThrowFault(Vector::kSegmentNotPresent, SelectorError(selector, ext));
  if (v86_needs_ring0) ThrowFault(Vector::kGeneralProtection, SelectorError(selector, ext));
  return code;
}

/// What a handler finds on its stack, in push order (SDM 3A figures 6-4 and 20-4).
class HandlerFrame {
 public:
  HandlerFrame(const CpuState& state, const Event& event, bool stack_switch) {
    if (state.V86()) {
      for (Seg s : {Seg::kGs, Seg::kFs, Seg::kDs, Seg::kEs}) Add(state.Segment(s).selector);
    }
    if (stack_switch) {
      Add(state.Segment(Seg::kSs).selector);
      Add(state.gpr[kEsp]);
    }
    Add(event.saved_eflags);
    Add(state.Segment(Seg::kCs).selector);
    Add(event.return_eip);
    if (event.error_code) Add(*event.error_code);
  }
  std::span<const uint32_t> Values() const { return {values_.data(), count_}; }

 private:
  void Add(uint32_t value) { values_[count_++] = value; }

  std::array<uint32_t, 10> values_;
  unsigned count_ = 0;
};

void CommitHandler(CpuState& state, const SegmentRegister& cs, const Descriptor& gate) {
  const bool is_trap_gate = gate.Type() & 1;
  if (state.V86()) {
    for (Seg s : {Seg::kEs, Seg::kDs, Seg::kFs, Seg::kGs}) state.Segment(s) = NullSegment(0);
  }
  state.Segment(Seg::kCs) = cs;
  state.eip = gate.GateOffset();
  state.eflags &= ~(kClearedByGate | (is_trap_gate ? 0 : eflags::kIf));
}

void EnterHandler(Cpu& cpu, const Event& event, const Descriptor& gate) {
  CpuState& state = cpu.state;
  const uint16_t selector = gate.GateSelector();
  const Descriptor code = CheckHandlerCode(cpu, selector, event.ext);
  const bool inner = !code.IsConforming() && code.Dpl() < state.cpl;
  const unsigned cpl = inner ? code.Dpl() : state.cpl;
  const CheckedSegment cs{static_cast<uint16_t>((selector & 0xFFFC) | cpl), code};
  const OperandSize size = gate.Is32Bit() ? OperandSize::k32 : OperandSize::k16;
  const HandlerFrame frame(state, event, inner);
  if (!inner) {
    StackView stack(state, event.ext);
    CheckCodeLimit(cs, gate.GateOffset(), event.ext);
    stack.PushAll(cpu, frame.Values(), size);
    cs.MarkAccessed(cpu);
    state.gpr[kEsp] = stack.Esp();
    CommitHandler(state, cs, gate);
    return;
  }
  const InnerStack inner_stack = LoadInnerStack(cpu, cpl, event.ext);
  StackView stack(inner_stack.ss, inner_stack.esp, cpl, SelectorError(inner_stack.ss.selector, event.ext));
  CheckCodeLimit(cs, gate.GateOffset(), event.ext);
  stack.PushAll(cpu, frame.Values(), size);
  inner_stack.ss.MarkAccessed(cpu);
  cs.MarkAccessed(cpu);
  CommitHandler(state, cs, gate);
  state.Segment(Seg::kSs) = inner_stack.ss;
  state.gpr[kEsp] = stack.Esp();
  state.cpl = static_cast<uint8_t>(cpl);
}

bool IsIdtGate(const Descriptor& gate) {
  constexpr uint32_t kTypes = 1u << systype::kTaskGate | 1u << systype::kInterruptGate16 | 1u << systype::kTrapGate16 |
                              1u << systype::kInterruptGate32 | 1u << systype::kTrapGate32;
  return gate.IsSystem() && (kTypes >> gate.Type() & 1);
}

void DeliverThroughIdt(Cpu& cpu, const Event& event) {
  const CpuState& state = cpu.state;
  const uint32_t offset = event.vector * kGateBytes;
  if (offset + kGateBytes - 1 > state.idtr.limit) ThrowFault(Vector::kGeneralProtection, IdtError(event));
  const Descriptor gate{cpu.memory.Read<uint64_t>(GuestLinear(state.idtr.base + offset), kImplicitRead)};
  const bool denied = event.check_gate_dpl && gate.Dpl() < state.cpl;
  if (!IsIdtGate(gate) || denied) ThrowFault(Vector::kGeneralProtection, IdtError(event));
  if (!gate.Present()) ThrowFault(Vector::kSegmentNotPresent, IdtError(event));
  if (gate.Type() == systype::kTaskGate) {
    SwitchTask(cpu, TaskSwitchRequest{gate.GateSelector(), TaskSwitchSource::kInterrupt, event.return_eip,
                                      event.saved_eflags, event.ext, event.error_code});
  } else {
    EnterHandler(cpu, event, gate);
  }
}

void Deliver(Cpu& cpu, const Event& event) {
  cpu.memory.TakeMarks(Watcher::kGuest);  // of what has failed before
  if (cpu.state.ProtectedMode()) {
    DeliverThroughIdt(cpu, event);
  } else {
    DeliverRealMode(cpu, event);
  }
  CpuState& state = cpu.state;
  state.halted = state.interrupt_shadow = state.debug_shadow = false;
  state.pending_debug |= cpu.memory.TakeMarks(Watcher::kGuest);
}

enum class FaultClass { kBenign, kContributory, kPageFault };

FaultClass ClassOf(Vector vector) {
  switch (vector) {
    case Vector::kDivideError:
    case Vector::kInvalidTss:
    case Vector::kSegmentNotPresent:
    case Vector::kStackFault:
    case Vector::kGeneralProtection:
      return FaultClass::kContributory;
    case Vector::kPageFault:
      return FaultClass::kPageFault;
    default:
      return FaultClass::kBenign;
  }
}

/// What is delivered when `second` is met while delivering `first` (SDM 3A table 6-5).
GuestFault Combine(const GuestFault& first, const GuestFault& second) {
  const FaultClass second_class = ClassOf(second.vector);
  if (second_class == FaultClass::kBenign) return second;
  if (first.vector == Vector::kDoubleFault) throw TripleFault{};
  const FaultClass first_class = ClassOf(first.vector);
  const bool serial = first_class == FaultClass::kBenign ||
                      (first_class == FaultClass::kContributory && second_class == FaultClass::kPageFault);
  return serial ? second : GuestFault{Vector::kDoubleFault, 0};
}

/// Faults restart their instruction with RF set, so that an instruction breakpoint there isn't met again; traps and
/// aborts save EFLAGS as it is (SDM 3B 17.3.1.1).
bool SetsResumeFlag(const GuestFault& fault) {
  switch (fault.vector) {
    case Vector::kDebug:
      return fault.dr6 & dr6::kBd;
    case Vector::kNmi:
    case Vector::kBreakpoint:
    case Vector::kOverflow:
    case Vector::kDoubleFault:
      return false;
    default:
      return true;
  }
}

void DeliverException(Cpu& cpu, const GuestFault& fault) {
  const CpuState& state = cpu.state;
  const uint32_t saved_eflags = state.eflags | (SetsResumeFlag(fault) ? eflags::kRf : 0);
  Deliver(cpu, {static_cast<uint8_t>(fault.vector), false, 1, state.eip, saved_eflags, fault.error_code});
}

/// The registers that tell a handler what happened change even if its delivery fails.
void RecordCause(CpuState& state, const GuestFault& fault) {
  if (fault.vector == Vector::kPageFault) state.cr2 = fault.cr2;
  if (fault.vector == Vector::kDebug) {
    state.dr[6] = (state.dr[6] & ~dr6::kBreakpoints) | fault.dr6 | state.pending_debug;
    state.dr[7] &= ~dr7::kGd;
    state.debug_control &= ~debugctl::kBtf;
  }
  state.pending_debug = 0;  // what a faulting instruction has met it will meet again
}

}  // namespace

void RaiseSoftwareInterrupt(Cpu& cpu, uint8_t vector, SoftwareInterrupt kind, uint32_t return_eip) {
  const CpuState& state = cpu.state;
  if (kind == SoftwareInterrupt::kIntN && state.V86()) {
    if ((state.cr4 & cr4::kVme) && RedirectedToProgram(cpu, vector)) {
      return DeliverToV86Program(cpu, vector, return_eip);
    }
    if (state.Iopl() < 3) ThrowFault(Vector::kGeneralProtection, 0);
  }
  const bool is_int1 = kind == SoftwareInterrupt::kInt1;  // a hardware exception as far as gates are concerned
  uint32_t traps = 0;
  if (is_int1) {
    cpu.state.dr[7] &= ~dr7::kGd;
    traps = std::exchange(cpu.state.pending_debug, 0);  // held off by MOV SS: they and INT1 are one #DB
  }
  Deliver(cpu, {vector, !is_int1, is_int1 ? 1u : 0u, return_eip, state.eflags & ~eflags::kRf, std::nullopt});
  if (traps) cpu.state.dr[6] = (cpu.state.dr[6] & ~dr6::kBreakpoints) | traps;
}

void DeliverFault(Cpu& cpu, GuestFault fault) {
  RecordCause(cpu.state, fault);
  for (;;) {
    try {
      return DeliverException(cpu, fault);
    } catch (const GuestFault& nested) {
      RecordCause(cpu.state, nested);
      fault = Combine(fault, nested);
    }
  }
}

void DeliverExternalInterrupt(Cpu& cpu, uint8_t vector) {
  try {
    Deliver(cpu, {vector, false, 1, cpu.state.eip, cpu.state.eflags, std::nullopt});
  } catch (const GuestFault& fault) {
    DeliverFault(cpu, fault);
  }
}

void DeliverNmi(Cpu& cpu) {
  cpu.state.nmi_pending = false;
  cpu.state.nmi_blocked = true;
  DeliverExternalInterrupt(cpu, static_cast<uint8_t>(Vector::kNmi));
}

}  // namespace ring3
