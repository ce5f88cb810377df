// The engine that translates: the loop (bt_engine) with the windows, the translator and the signals it needs.
#pragma once

#include "monitor/bt_engine.h"
#include "monitor/engine.h"
#include "monitor/exit_trace.h"
#include "monitor/host_signals.h"
#include "monitor/lockstep/recorder.h"
#include "monitor/options.h"

namespace ring3 {

class TranslatingEngine final : public Engine {
 public:
  /// `physical` and `ports` must outlive it; so must `recorder`, which is told of all that happens, if there is one.
  /// Throws UsageError.
  TranslatingEngine(PhysicalMemory& physical, PortBus& ports, const CpuModel& model, const Options& options,
                    lockstep::Recorder* recorder = nullptr);
  ~TranslatingEngine() override;

  const char* Name() const override { return "bt"; }
  void SetState(const CpuState& state) override;
  EngineStop Run() override;
  void SetInterruptWaiting(bool waiting) override { loop_.SetInterruptWaiting(waiting); }
  void DeliverInterrupt(uint8_t vector) override { loop_.DeliverInterrupt(vector); }
  void Kick() override { vcpu_.run.kick = 1; }
  void ClearKick() override { vcpu_.run.kick = 0; }
  bool Kicked() const override { return vcpu_.run.kick; }
  void SetA20(bool enabled) override;
  void OnFpuError(Hook hook, void* context) override { loop_.SetFpuErrorLine(hook, context); }
  void IgnoreFpuError() override { vcpu_.cpu.state.ignore_x87_error = true; }
  void OnDeviceAccess(Hook hook, void* context) override { loop_.OnStep(hook, context); }
  CpuState State() override;
  uint32_t* LiveRegisters() override { return vcpu_.cpu.state.gpr.data(); }
  PagingState Paging() override { return vcpu_.cpu.Paging(); }
  bool CanDebug() const override { return recorder_ == nullptr; }
  void SetDebugStops(const DebugStops& stops) override { loop_.SetDebugStops(stops); }
  std::optional<unsigned> TakeDebugHit() override { return loop_.TakeDebugHit(); }
  bool Step() override { return loop_.StepForDebugger(); }
  void HideTimeStamps(uint64_t ticks) override { vcpu_.cpu.state.tsc_offset -= ticks; }
  void Relax() override { translator_.Relax(); }
  void Report(FILE* out, const char* title) override;
  void WriteStats(FILE* out, double seconds) override;
  void CheckReports() override;

 private:
  lockstep::Recorder* const recorder_;
  const std::string dump_path_;
  FILE* dump_;
  ShadowMmu mmu_;
  LinearMemory linear_;
  Vcpu vcpu_;
  Translator translator_;
  ExitTrace trace_;
  BtEngine loop_;
  HostSignals signals_;
};

}  // namespace ring3
