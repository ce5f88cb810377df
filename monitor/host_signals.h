// Host signals as the monitor uses them: faults of translated code become fills, guest faults or emulation; the kick
// signal makes translated code leave at the next precise point.
#pragma once

#include <csignal>
#include <cstdint>

#include "monitor/engine.h"
#include "shadowmmu/shadow_mmu.h"
#include "translator/block_record.h"
#include "translator/translator.h"
#include "translator/vcpu.h"

namespace ring3 {

struct SignalStats {
  uint64_t faults = 0, kicks_in_translated_code = 0, stepped_kicks = 0;
};

/// Called when a fault is the monitor's own: prints a report and does not return.
using CrashHandler = void (*)(int signal, siginfo_t* info, void* context);

/// Routes signals of the calling thread to one vCPU. One at a time per process: signal handlers need a fixed place to
/// look.
class HostSignals {
 public:
  HostSignals(Vcpu& vcpu, ShadowMmu& mmu, Translator& translator, CrashHandler crash);
  ~HostSignals();
  HostSignals(const HostSignals&) = delete;

  const SignalStats& Stats() const { return stats_; }
  /// Who answers when blocks that record have no room left.
  void SetRecordRoom(BlockRecordRoom* room) { record_room_ = room; }
  /// The vCPU whose signals are routed now, for crash reports; nullptr outside a run.
  static HostSignals* Active();
  Vcpu& GetVcpu() { return vcpu_; }
  Translator& GetTranslator() { return translator_; }

 private:
  static void OnFault(int signal, siginfo_t* info, void* context);
  static void OnKick(int signal, siginfo_t* info, void* context);
  static void OnStep(int signal, siginfo_t* info, void* context);
  bool HandleFault(ucontext_t& context);
  bool HandlePageFault(ucontext_t& context);
  bool MakeRecordRoom(ucontext_t& context);
  bool ForgetCalls(ucontext_t& context);
  bool ResolveReturn(ucontext_t& context);
  void Divert(ucontext_t& context);
  bool Recover(const ucontext_t& context, bool& busy);
  void Leave(ucontext_t& context, ExitReason reason);

  Vcpu& vcpu_;
  ShadowMmu& mmu_;
  Translator& translator_;
  CrashHandler crash_;
  SignalStats stats_;
  BlockRecordRoom* record_room_ = nullptr;
  bool stepping_ = false;  // a kick is single-stepping the host to the next precise point
  void* alternate_stack_ = nullptr;
};

}  // namespace ring3
