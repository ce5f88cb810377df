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
    return engine.StepInPlace(StepOperand::Unpack(arguments.operand));
  } catch (...) {
    engine.thrown_ = std::current_exception();
    return LeaveWhole(*vcpu);
  }
}

/// What HandleExit does for an instruction that is the monitor's; then on to the next one, unless the loop has to look.
CalloutResult BtEngine::StepInPlace(StepOperand step) {
  RunContext& run = vcpu_.run;
  CpuState& state = vcpu_.cpu.state;
  const ExitReason reason = step.demoted ? ExitReason::kDemoted : ExitReason::kInterpret;
  run.exit_reason = static_cast<uint32_t>(reason);
  if (observer_) return CalloutResult::kLeave;
  state.eflags = vcpu_.Flags();
  trace_.Record(reason, state);
  ++callouts_.done[static_cast<unsigned>(Callout::kInterpret)];
  if (step.demoted) NoteDemotedExecution();
  const uint64_t faults = stats_.faults_delivered;
  StepOne();
  const bool usual = step.plain && stats_.faults_delivered == faults;
  const bool interrupted = run.interrupts_waiting & state.eflags;
  if (WantsAttention(state) || interrupted) return LeaveWhole(vcpu_);
  vcpu_.SetFlags(state.eflags);
  if (usual) return GoOnInMode(vcpu_);
  run.avx = state.xcr0 & xstate::kAvx;
  PrepareSegmentChecks();
  NoteWindows(callouts_);
  return GoOn(vcpu_);
}

void BtEngine::NoteDemotedExecution() {
  if (const auto site = CurrentSite()) translator_.NoteDemotedExecution(*site);
}

}  // namespace ring3
