// The callout for what is left to the monitor: one instruction on the slow path, without the engine's loop around it.
#include <exception>
#include <utility>

#include "monitor/bt_engine.h"
#include "monitor/callouts.h"

namespace ring3 {
namespace {

/// The instruction left something that the engine's loop looks at before it enters translated code.
bool WantsAttention(const CpuState& state, uint32_t flags) {
  return (flags & (eflags::kTf | eflags::kRf)) || state.interrupt_shadow || state.halted || state.DebugTrapDue() ||
         state.NmiDue();
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
  if (observer_ || !translator_.Paths().Has(FastPath::kStepCallouts)) return CalloutResult::kLeave;
  state.eflags = vcpu_.Flags();
  trace_.Record(reason, state);
  ++callouts_.done[static_cast<unsigned>(Callout::kInterpret)];
  const uint64_t faults = stats_.faults_delivered;
  step.demoted ? StepDemoted() : StepOne();
  bool usual = step.plain && stats_.faults_delivered == faults;
  if (StepsAgain()) {
    StepOne();
    usual = false;
  }
  const bool interrupted = run.interrupts_waiting & state.eflags;
  const bool debugged = !debug_.Empty() && AtDebugStop();
  if (WantsAttention(state, state.eflags) || interrupted || debugged) return LeaveWhole(vcpu_);
  vcpu_.SetFlags(state.eflags);
  if (usual) return GoOnInMode(vcpu_);
  run.avx = state.xcr0 & xstate::kAvx;
  PrepareSegmentChecks();
  NoteWindows(callouts_);
  return GoOn(vcpu_);
}

/// RF, with which handlers of faults return, goes with one more instruction on the slow path, as in the engine's loop.
bool BtEngine::StepsAgain() const {
  const CpuState& state = vcpu_.cpu.state;
  if (vcpu_.run.kick || (vcpu_.run.interrupts_waiting & state.eflags) || !debug_.Empty()) return false;
  return (state.eflags & eflags::kRf) && !WantsAttention(state, state.eflags & ~eflags::kRf);
}

/// A soft access to a page that the guest's tables refuse ends as the interpreter would end it, which throws.
bool BtEngine::DeliverSoftFault() {
  const auto [move, address, writes] = std::exchange(callouts_.soft_miss, {});
  if (!move || move->IsString() || !move->faults_first) return false;
  const GuestLinear linear(address);
  Cpu& cpu = vcpu_.cpu;
  if (linear.PageOffset() + move->bytes > kPageSize || PagesWithheld()) return false;
  const Access access = writes ? cpu.Write() : cpu.Read();
  const WalkResult walk = Walk(cpu.memory.Physical(), mmu_.Paging(), linear, access);
  if (walk.ok) return false;
  MonitorActs();
  Deliver({Vector::kPageFault, walk.error_code, address});
  return true;
}

void BtEngine::StepDemoted() {
  const auto site = CurrentSite();
  const uint64_t faults = stats_.faults_delivered;
  if (site) translator_.NoteDemotedExecution(*site);
  if (!DeliverSoftFault()) StepOne();
  if (site && stats_.faults_delivered != faults) translator_.NoteDemotedFault(*site);
}

}  // namespace ring3
