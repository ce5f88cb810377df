// The callout for what is left to the monitor: one instruction on the slow path, without the engine's loop around it.
#include <exception>

#include "monitor/bt_engine.h"
#include "monitor/callouts.h"

namespace ring3 {
namespace {

/// The instruction left something that the engine's loop looks at before it enters translated code.
bool WantsAttention(const CpuState& state) {
  return (state.eflags & (eflags::kTf | eflags::kRf)) || state.interrupt_shadow || state.halted ||
         state.DebugTrapDue() || state.NmiDue();
}

/// Leaves with EFLAGS whole in the state, as translated code cannot hold all of them.
CalloutResult LeaveWhole(Vcpu& vcpu) {
  vcpu.run.host_flags = vcpu.run.interrupt_flag = 0;
  vcpu.run.exit_reason = static_cast<uint32_t>(ExitReason::kIndirectMiss);
  return CalloutResult::kLeave;
}

}  // namespace

CalloutResult BtEngine::StepCallout(Vcpu* vcpu, uint32_t packed_arguments, uint32_t) {
  const CalloutArguments arguments = CalloutArguments::Unpack(packed_arguments);
  BtEngine& engine = *vcpu->run.callout_context->engine;
  try {
    ++engine.callouts_.done[static_cast<unsigned>(arguments.callout)];
    return engine.StepInPlace(static_cast<ExitReason>(arguments.operand));
  } catch (...) {
    engine.thrown_ = std::current_exception();
    return LeaveWhole(*vcpu);
  }
}

/// What HandleExit does for this reason; then on to the next instruction, unless the loop has to look.
CalloutResult BtEngine::StepInPlace(ExitReason reason) {
  RunContext& run = vcpu_.run;
  CpuState& state = vcpu_.cpu.state;
  run.exit_reason = static_cast<uint32_t>(reason);
  if (observer_) return CalloutResult::kLeave;
  state.eflags = vcpu_.Flags();
  trace_.Record(reason, state);
  if (reason == ExitReason::kDemoted) NoteDemotedExecution();
  StepOne();
  if (WantsAttention(state)) return LeaveWhole(vcpu_);
  run.avx = state.xcr0 & xstate::kAvx;
  PrepareSegmentChecks();
  NoteWindows(callouts_);
  vcpu_.SetFlags(state.eflags);
  return GoOn(vcpu_);
}

void BtEngine::NoteDemotedExecution() {
  if (const auto site = CurrentSite()) translator_.NoteDemotedExecution(*site);
}

}  // namespace ring3
