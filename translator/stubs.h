// The hand-written run-time stubs at the front of the code cache: enter, leave and the misses.
#pragma once

#include <array>
#include <cstdint>

#include "translator/callouts.h"

namespace ring3 {

struct Vcpu;

/// Generated once per code cache. Addresses are host addresses in the cache.
class Stubs {
 public:
  /// Bytes the stubs may occupy at the front of the cache. Offset 0 is the indirect-branch miss.
  static constexpr uint32_t kBytes = 4096;

  /// Writes the stubs to `memory` (kBytes).
  explicit Stubs(uint8_t* memory);

  /// Loads the guest's registers from `vcpu`, jumps to run.target, returns when translated code is left: the exit is in
  /// vcpu.run. Returns at once with kInterrupted when run.kick is set.
  void Enter(Vcpu* vcpu) const { enter_(vcpu); }

  // Where translated code jumps to. In: EIP in r8d; LinkMiss is called instead, and the return address names the link.
  uint64_t IndirectMiss() const { return indirect_miss_; }
  uint64_t LinkMiss() const { return link_miss_; }
  uint64_t LeaveToInterpret() const { return interpret_; }
  uint64_t LeaveDemoted() const { return demoted_; }
  /// Callout::kInterpret, with only EIP to be passed.
  uint64_t Step(StepOperand step) const { return steps_[step.Pack()]; }
  uint64_t Stale() const { return stale_; }
  /// A callout (translator/callouts.h). In: EIP of the instruction in r8d, packed arguments in r9d, the value in r10d.
  uint64_t CalloutTo(Callout callout) const {
    return IsLight(callout) && kCompiledForLight ? light_callout_ : full_callout_;
  }

  /// What a return finds on an empty return stack.
  uint64_t ReturnSentinel() const { return return_sentinel_; }

  // For the signal handlers.
  /// Continues here (rsp = run.host_rsp, r12 = vcpu, FPU state the guest's) to leave with the exit already recorded and
  /// the integer state already saved.
  uint64_t LeaveRecorded() const { return leave_recorded_; }
  /// In [EnterCheck, EnterEnd) the guest's state is still whole in `vcpu`: continue at LeaveUnentered to give up
  /// entering.
  bool InEnter(uint64_t host_pc) const { return host_pc >= enter_check_ && host_pc < enter_end_; }
  uint64_t LeaveUnentered() const { return leave_unentered_; }
  /// Here the guest's state is whole in the registers, but for EIP, which is in r8d.
  bool InReturnSentinel(uint64_t host_pc) const { return host_pc >= return_sentinel_ && host_pc < sentinel_end_; }

 private:
  // Without optimisation, inline functions are called in versions compiled for all registers; and clang does not take
  // the standard library for general registers only.
#if defined(NDEBUG) && !defined(__clang__)
  static constexpr bool kCompiledForLight = true;
#else
  static constexpr bool kCompiledForLight = false;
#endif

  void (*enter_)(Vcpu*) = nullptr;
  uint64_t indirect_miss_ = 0, link_miss_ = 0, interpret_ = 0, demoted_ = 0, stale_ = 0, light_callout_ = 0,
           full_callout_ = 0, leave_recorded_ = 0, leave_unentered_ = 0;
  std::array<uint64_t, StepOperand::kCount> steps_{};
  uint64_t enter_check_ = 0, enter_end_ = 0, return_sentinel_ = 0, sentinel_end_ = 0;
};

}  // namespace ring3
