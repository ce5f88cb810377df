#include "monitor/interpreter/interpreter.h"

#include "monitor/interpreter/decode.h"
#include "monitor/interpreter/fpu_state.h"
#include "monitor/interpreter/instruction_set.h"
#include "monitor/interpreter/step.h"

namespace ring3 {
namespace {

constexpr uint32_t kDr6SingleStep = 1u << 14;  // DR6.BS

void Execute(Step& s) {
  if (s.d.illegal || !Available(s.cpu.model, s.d.need)) ThrowFault(Vector::kInvalidOpcode);
  if (s.d.fpu != FpuUse::kNone) {
    s.cpu.StoreFpu();
    if (!CheckFpuUsable(s)) return;
  }
  s.d.handler(s);
}

void RollBack(Step& s) {
  CpuState& state = s.state();
  state.gpr = s.checkpoint.gpr;
  state.eip = s.checkpoint.eip;
  state.eflags = s.checkpoint.eflags;
}

}  // namespace

StepResult StepInstruction(Cpu& cpu) {
  CpuState& state = cpu.state;
  Decoded& d = FetchInstruction(cpu);
  Step s{.cpu = cpu,
         .d = d,
         .next_eip = state.eip + d.length,
         .checkpoint = {state.gpr, state.eip, state.eflags},
         .result = {.mnemonic = static_cast<uint16_t>(d.insn.mnemonic)}};
  const bool trap_flag = state.eflags & eflags::kTf;
  state.interrupt_shadow = false;
  state.eflags &= ~eflags::kRf;  // a completed instruction clears RF; IRET and task switches may set it anew
  try {
    Execute(s);
  } catch (const GuestFault&) {
    if (s.roll_back) RollBack(s);
    throw;
  }
  if (s.result.x87_error_line) {
    RollBack(s);
    return s.result;
  }
  if (!s.eip_set) state.eip = s.next_eip;
  if (trap_flag && !s.inhibit_trap) {
    state.dr[6] |= kDr6SingleStep;
    s.result.single_step_trap = true;
  }
  return s.result;
}

}  // namespace ring3
