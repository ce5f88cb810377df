#include "monitor/interpreter/interpreter.h"

#include "monitor/cpu/vex.h"
#include "monitor/interpreter/decode.h"
#include "monitor/interpreter/fpu_state.h"
#include "monitor/interpreter/instruction_set.h"
#include "monitor/interpreter/step.h"

namespace ring3 {
namespace {

/// An instruction breakpoint comes before anything the instruction does, its fetch included (SDM 3A table 6-2).
void CheckInstructionBreakpoints(const Cpu& cpu) {
  const CpuState& state = cpu.state;
  const GuestLinear address(state.Segment(Seg::kCs).base + state.eip);
  const uint32_t hits = cpu.breakpoints.OnInstruction(address);
  const bool suppressed = (state.eflags & eflags::kRf) || state.debug_shadow;
  if (hits && !suppressed) [[unlikely]]
    throw GuestFault{Vector::kDebug, std::nullopt, 0, hits};
}

/// Notes the traps of an instruction that has completed.
void NoteDebugTraps(Step& s, bool trap_flag) {
  CpuState& state = s.state();
  state.pending_debug |= s.cpu.memory.TakeMarks(Watcher::kGuest);
  const bool branched = s.eip_set && !s.result.rep_unfinished;
  const bool steps = branched || !(state.debug_control & debugctl::kBtf);
  if (trap_flag && steps && !s.inhibit_trap) state.pending_debug |= dr6::kBs;
  s.result.debug_trap = state.DebugTrapDue();
}

void Execute(Step& s) {
  if (IsVex(s.d.insn) && s.RealOrV86()) ThrowFault(Vector::kInvalidOpcode);
  if (s.d.illegal || !Available(s.cpu.model, s.d.need)) {
    s.raised = GuestFault{Vector::kInvalidOpcode, std::nullopt};
    return;
  }
  if (s.d.fpu != FpuUse::kNone) {
    s.cpu.StoreFpu();
    if (!CheckFpuUsable(s)) return;
  }
  s.d.handler(s);
  CpuState& state = s.state();
  if (state.ignore_x87_error && !PendingX87(state)) state.ignore_x87_error = false;
}

void RollBack(Step& s) {
  CpuState& state = s.state();
  state.gpr = s.checkpoint.gpr;
  state.eip = s.checkpoint.eip;
  state.eflags = s.checkpoint.eflags;
}

}  // namespace

StepResult StepInstruction(Cpu& cpu) {
  StepResult result;
  if (const auto fault = TryStep(cpu, result)) throw *fault;
  return result;
}

std::optional<GuestFault> TryStep(Cpu& cpu, StepResult& result) {
  CpuState& state = cpu.state;
  CheckInstructionBreakpoints(cpu);
  Decoded& d = FetchInstruction(cpu);
  Step s{.cpu = cpu,
         .d = d,
         .next_eip = state.eip + d.length,
         .checkpoint = {state.gpr, state.eip, state.eflags},
         .result = {.mnemonic = static_cast<uint16_t>(d.insn.mnemonic)},
         .follows_shadow = state.debug_shadow};
  const bool trap_flag = state.eflags & eflags::kTf;
  state.interrupt_shadow = state.debug_shadow = false;
  cpu.memory.TakeMarks(Watcher::kGuest);  // of whatever was read between instructions
  state.eflags &= ~eflags::kRf;           // a completed instruction clears RF; IRET and task switches may set it anew
  try {
    Execute(s);
  } catch (const GuestFault&) {
    if (s.roll_back) RollBack(s);
    throw;
  }
  if (s.raised || s.result.x87_error_line) {
    RollBack(s);
  } else {
    if (!s.eip_set) state.eip = s.next_eip;
    NoteDebugTraps(s, trap_flag);
  }
  result = s.result;
  return s.raised;
}

}  // namespace ring3
