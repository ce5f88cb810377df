// What executes guest instructions. The machine around it, the devices and the loading of guests are the same for each.
#pragma once

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <stdexcept>
#include <vector>

#include "monitor/cpu/cpu_state.h"
#include "shadowmmu/paging.h"

namespace ring3 {

/// Signal that asks the vCPU thread for attention: timers and other threads send it, and the engine takes it as Kick().
inline constexpr int kKickSignal = SIGUSR1;

/// Why an engine came back.
enum class EngineStop : uint8_t {
  kAttention,      // kicked: timers, input or a request to stop
  kHalted,         // HLT, nothing deliverable
  kInterruptible,  // an interrupt waits and may be delivered now
  kDebug,          // a debugger's stop: EIP is at one of its code addresses, or it asks TakeDebugHit()
};

/// Accesses that a debugger wants to hear of: to `bytes` guest-linear addresses from `first`.
struct DebugWatch {
  GuestLinear first;
  uint32_t bytes = 0;
  bool reads = false, writes = false;
  bool operator==(const DebugWatch&) const = default;
};

/// Where a debugger outside the guest stops it. Guest memory and the guest's debug registers stay as they are.
struct DebugStops {
  static constexpr unsigned kMostWatches = 32;

  std::vector<GuestLinear> code;  // before the instruction there
  std::vector<DebugWatch> data;   // after the access; kMostWatches at most
  bool Empty() const { return code.empty() && data.empty(); }
};

/// The engine cannot go on with this guest, through no fault of the guest's.
struct EngineFailure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// An engine is wired to guest-physical memory and a port bus when it is made. Its functions are for the vCPU thread.
class Engine {
 public:
  using Hook = void (*)(void* context);

  virtual ~Engine() = default;

  /// As --engine has it.
  virtual const char* Name() const = 0;
  /// Goes on from here: the guest's state after RESET or loading.
  virtual void SetState(const CpuState& state) = 0;
  /// Runs the guest. Throws TripleFault and EngineFailure.
  virtual EngineStop Run() = 0;

  /// Set while an interrupt controller asserts INTR.
  virtual void SetInterruptWaiting(bool waiting) = 0;
  /// After Run() gave kInterruptible. Ends HLT.
  virtual void DeliverInterrupt(uint8_t vector) = 0;

  /// Run() gives kAttention as soon as possible, until ClearKick().
  virtual void Kick() = 0;
  virtual void ClearKick() = 0;
  virtual bool Kicked() const = 0;

  virtual void SetA20(bool enabled) = 0;
  /// Called when the x87 error line is asserted (CR0.NE clear).
  virtual void OnFpuError(Hook hook, void* context) = 0;
  /// IGNNE# is asserted, until the error is gone.
  virtual void IgnoreFpuError() = 0;
  /// Called after the guest may have accessed a device.
  virtual void OnDeviceAccess(Hook hook, void* context) = 0;
  /// The whole state, x87 and vector registers included. To change it: SetState().
  virtual CpuState State() = 0;
  /// The eight general registers, while the guest accesses a device: to be changed at will. nullptr: out of reach.
  virtual uint32_t* LiveRegisters() { return nullptr; }
  /// What the guest's linear addresses mean now.
  virtual PagingState Paging() = 0;
  /// Whether the next three can be called.
  virtual bool CanDebug() const { return false; }
  /// Replaces the debugger's stops. Code runs translated as without them, but for what shares a page with watched data.
  virtual void SetDebugStops(const DebugStops&) {}
  /// The watch of the last SetDebugStops() that was hit since the last call, by its place in the list.
  virtual std::optional<unsigned> TakeDebugHit() { return std::nullopt; }
  /// One instruction, without interrupts. False, and nothing done, when the processor is halted.
  virtual bool Step() { return false; }
  /// The guest's time-stamp counter goes back by this many host ticks: time in which the guest was stopped.
  virtual void HideTimeStamps(uint64_t) {}
  /// Called some times a second.
  virtual void Relax() {}

  /// The guest's registers, the code at its EIP, and what the engine knows besides.
  virtual void Report(FILE* out, const char* title) = 0;
  /// Counters of the run as JSON.
  virtual void WriteStats(FILE* out, double seconds) = 0;
  /// Throws UsageError when a file that the run was to be recorded in has not taken all of it.
  virtual void CheckReports() {}
};

}  // namespace ring3
