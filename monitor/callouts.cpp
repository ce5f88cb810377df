// Callouts that run the slow path's own functions: ports, control registers, INVLPG.
#include "monitor/callouts.h"

#include "monitor/bt_engine.h"
#include "monitor/cpu/privileged.h"
#include "monitor/light_callouts.h"

namespace ring3 {
namespace {

/// What the registers of a device may have changed: interrupts, A20, IGNNE#, even guest memory.
CalloutResult Finish(Vcpu& vcpu, CalloutArguments arguments) {
  CpuState& state = vcpu.cpu.state;
  CalloutContext& context = *vcpu.run.callout_context;
  state.eip += arguments.length;
  if (context.on_step) context.on_step(context.on_step_context);
  NoteWindows(context);
  vcpu.run.exit_reason = static_cast<uint32_t>(ExitReason::kIndirectMiss);
  return state.pending_debug ? CalloutResult::kLeave : GoOn(vcpu);
}

CalloutResult In(Vcpu& vcpu, CalloutArguments arguments, uint32_t value) {
  const uint16_t port = static_cast<uint16_t>(value);
  const unsigned bytes = arguments.operand;
  CheckPortAccess(vcpu.cpu, port, bytes);
  const uint32_t mask = bytes == 4 ? 0xFFFF'FFFF : (1u << 8 * bytes) - 1;
  uint32_t& eax = vcpu.cpu.state.gpr[kEax];
  eax = (eax & ~mask) | (vcpu.cpu.ports.Read(port, bytes) & mask);
  NotePortAccess(vcpu.cpu, port, bytes);
  return Finish(vcpu, arguments);
}

CalloutResult Out(Vcpu& vcpu, CalloutArguments arguments, uint32_t value) {
  const uint16_t port = static_cast<uint16_t>(value);
  const unsigned bytes = arguments.operand;
  CheckPortAccess(vcpu.cpu, port, bytes);
  const uint32_t mask = bytes == 4 ? 0xFFFF'FFFF : (1u << 8 * bytes) - 1;
  vcpu.cpu.ports.Write(port, bytes, vcpu.cpu.state.gpr[kEax] & mask);
  NotePortAccess(vcpu.cpu, port, bytes);
  return Finish(vcpu, arguments);
}

CalloutResult MoveToControl(Vcpu& vcpu, CalloutArguments arguments, uint32_t value) {
  const CpuState& state = vcpu.cpu.state;
  constexpr uint32_t kOtherMode = cr0::kPe | cr0::kPg | cr0::kCd | cr0::kNw;
  if (arguments.operand == 0 && ((state.cr0 ^ value) & kOtherMode)) return CalloutResult::kDeclined;
  WriteControl(vcpu.cpu, arguments.operand, value);
  return Finish(vcpu, arguments);
}

CalloutResult InvalidatePage(Vcpu& vcpu, CalloutArguments arguments, uint32_t value) {
  RequireRing0(vcpu.cpu);
  vcpu.cpu.memory.InvalidatePage(GuestLinear(value));
  vcpu.cpu.mmu.InvalidatePage(GuestLinear(value));
  return Finish(vcpu, arguments);
}

using Function = CalloutResult (*)(Vcpu&, CalloutArguments, uint32_t);

/// A fault leaves the state as it was; the slow path meets it again.
template <Function kFunction>
CalloutResult Guard(Vcpu* vcpu, uint32_t packed, uint32_t value) {
  const CalloutArguments arguments = CalloutArguments::Unpack(packed);
  CalloutResult result = CalloutResult::kDeclined;
  try {
    result = kFunction(*vcpu, arguments, value);
  } catch (const GuestFault&) {
  }
  return vcpu->run.callout_context->Count(arguments.callout, result);
}

CalloutFunction FullCallout(Callout callout) {
  switch (callout) {
    case Callout::kIn:
      return Guard<In>;
    case Callout::kOut:
      return Guard<Out>;
    case Callout::kMoveToControl:
      return Guard<MoveToControl>;
    case Callout::kInvalidatePage:
      return Guard<InvalidatePage>;
    case Callout::kInterpret:
      return BtEngine::StepCallout;
    default:
      return nullptr;
  }
}

}  // namespace

void InstallCallouts(Vcpu& vcpu, CalloutContext& context) {
  vcpu.run.callout_context = &context;
  for (unsigned i = 0; i < CalloutContext::kCallouts; ++i) {
    const Callout callout = static_cast<Callout>(i);
    vcpu.run.callouts[i] = IsLight(callout) ? LightCallout(callout) : FullCallout(callout);
  }
}

void NoteCpuid(CalloutContext& context, const CpuState& after, uint32_t leaf, uint32_t subleaf) {
  context.CpuidSlot(leaf, subleaf) = {.known = true,
                                      .leaf = leaf,
                                      .subleaf = subleaf,
                                      .cr4 = after.cr4 & cr4::kOsxsave,
                                      .xcr0 = after.xcr0,
                                      .values = {after.gpr[kEax], after.gpr[kEbx], after.gpr[kEcx], after.gpr[kEdx]}};
}

}  // namespace ring3
