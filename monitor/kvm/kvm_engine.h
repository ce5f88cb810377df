// The engine that has /dev/kvm execute the guest.
#pragma once

#include <array>

#include "devices/port_bus.h"
#include "monitor/engine.h"
#include "monitor/kvm/kvm_vcpu.h"

namespace ring3 {

class KvmEngine final : public Engine {
 public:
  /// `physical` and `ports` must outlive it. Throws UsageError where /dev/kvm cannot be used.
  KvmEngine(PhysicalMemory& physical, PortBus& ports, const CpuModel& model);
  ~KvmEngine() override;

  const char* Name() const override { return "kvm"; }
  void SetState(const CpuState& state) override;
  EngineStop Run() override;
  void SetInterruptWaiting(bool waiting) override { waiting_ = waiting; }
  void DeliverInterrupt(uint8_t vector) override;
  void Kick() override;
  void ClearKick() override;
  bool Kicked() const override { return kicked_; }
  void SetA20(bool enabled) override;
  /// Never called: KVM's processors report x87 errors as #MF, whatever CR0.NE says.
  void OnFpuError(Hook, void*) override {}
  void IgnoreFpuError() override {}
  void OnDeviceAccess(Hook hook, void* context) override { on_access_ = hook, access_context_ = context; }
  CpuState State() override;
  PagingState Paging() override { return PagingState::From(State(), a20_enabled_, true); }
  void Report(FILE* out, const char* title) override;
  void WriteStats(FILE* out, double seconds) override;

 private:
  static void OnKickSignal(int);
  bool Interruptible();
  void HandleExit();
  void AccessPort();
  void AccessMmio();

  PhysicalMemory& physical_;
  PortBus& ports_;
  KvmVcpu vcpu_;
  volatile std::sig_atomic_t kicked_ = 0;
  bool waiting_ = false, halted_ = false, a20_enabled_ = true;
  Hook on_access_ = nullptr;
  void* access_context_ = nullptr;
  uint64_t runs_ = 0, interrupts_ = 0;
  std::array<uint64_t, 64> exits_{};  // by KVM's number
};

}  // namespace ring3
