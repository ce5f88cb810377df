// The binary-translation engine: runs the guest until somebody has to look.
#pragma once

#include <array>
#include <cstdint>
#include <exception>
#include <optional>
#include <vector>

#include "monitor/callout_context.h"
#include "monitor/engine.h"
#include "monitor/exit_trace.h"
#include "monitor/guest_observer.h"
#include "monitor/host_signals.h"
#include "translator/translator.h"

namespace ring3 {

struct X87Environment;
struct X87Pointers;

struct EngineStats {
  std::array<uint64_t, static_cast<unsigned>(ExitReason::kCount)> exits{};
  uint64_t interpreted = 0;           // instructions executed on the slow path, for whatever reason
  uint64_t untranslatable_steps = 0;  // of those: in modes that aren't translated
  uint64_t faults_delivered = 0, interrupts_delivered = 0;
  std::array<uint64_t, 32> faults_by_vector{};
  std::array<uint64_t, ZYDIS_MNEMONIC_MAX_VALUE + 1> interpreted_by_mnemonic{};
};

class BtEngine : public FpuKeeper, public BreakpointListener {
 public:
  BtEngine(Vcpu& vcpu, ShadowMmu& mmu, Translator& translator, ExitTrace& trace);
  ~BtEngine() override;

  /// Runs the guest from cpu.state. Throws TripleFault.
  EngineStop Run();
  /// One step of Run: a block, an instruction on the slow path or a fault. Nothing when the guest may go on.
  std::optional<EngineStop> RunOnce();
  /// One instruction on the slow path.
  void StepOne();
  /// Callout::kInterpret
  static CalloutResult StepCallout(Vcpu* vcpu, uint32_t packed_arguments, uint32_t value);
  void StoreFpu() override;
  void BreakpointsChanged(std::span<const Breakpoint> armed) override;
  void DeliverInterrupt(uint8_t vector);
  /// As in Engine.
  void SetDebugStops(const DebugStops& stops);
  std::optional<unsigned> TakeDebugHit();
  bool StepForDebugger();
  /// An edge on the NMI line.
  void RaiseNmi() {
    vcpu_.cpu.state.nmi_pending = true;
    vcpu_.run.kick = 1;
  }
  /// Set while an interrupt controller asserts INTR.
  void SetInterruptWaiting(bool waiting) { vcpu_.run.interrupts_waiting = waiting ? eflags::kIf : 0; }
  /// Called when the x87 error line is asserted (CR0.NE clear).
  void SetFpuErrorLine(void (*line)(void*), void* context) { fpu_error_ = {line, context}; }
  /// Called after each instruction on the slow path, which may have accessed a device.
  void OnStep(void (*hook)(void*), void* context) {
    on_step_ = {hook, context};
    callouts_.on_step = hook;
    callouts_.on_step_context = context;
  }

  void SetObserver(GuestObserver* observer) { observer_ = observer; }

  const EngineStats& Stats() const { return stats_; }
  const CalloutContext& Callouts() const { return callouts_; }

 private:
  void Enter(uint64_t target, BlockMode mode);
  void HandleExit();
  CalloutResult StepInPlace(StepOperand step);
  void StepDemoted();
  bool StepsAgain() const;
  bool DeliverSoftFault();
  LinkId UnfollowedLink();
  void FollowLink(LinkId link);
  CodeLookup LookupHere();
  bool DeliverPending();
  void Deliver(const GuestFault& fault);
  X87Pointers NameX87Instruction(const X87Environment& environment) const;
  void LearnSegments();
  void PrepareSegmentChecks();
  void MonitorActs() {
    if (observer_) observer_->MonitorActs(vcpu_.cpu.state);
  }
  std::optional<GuestPhysical> CurrentSite();
  bool AtDebugStop() const;
  void WithholdPages();
  bool PagesWithheld() const { return !withheld_.empty(); }

  Vcpu& vcpu_;
  ShadowMmu& mmu_;
  Translator& translator_;
  ExitTrace& trace_;
  EngineStats stats_;
  GuestObserver* observer_ = nullptr;
  struct Hook {
    void (*call)(void*) = nullptr;
    void* context = nullptr;
    void operator()() const {
      if (call) call(context);
    }
  };
  Hook fpu_error_, on_step_;
  /// What the return sites on the return stack rest on.
  struct Calls {
    uint64_t generation = 0, branch_table = 0;
  };
  Calls calls_;
  /// Per data segment register: what loading its selector again would give, as of when that was found out.
  std::array<SegmentRegister, kSegCount> learnt_{};
  CalloutContext callouts_;
  DebugStops debug_;
  std::vector<GuestLinear> withheld_;  // pages with breakpoints of any kind: mapped nowhere
  std::exception_ptr thrown_;          // by a callout, through whose stub nothing can be thrown
};

}  // namespace ring3
