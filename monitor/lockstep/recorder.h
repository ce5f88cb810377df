// The recording side of a lockstep run: the ordinary machine, watched. It forks the replica and tells it where the
// processor stands and what reaches it from outside.
#pragma once

#include <functional>
#include <memory>

#include "monitor/bt_engine.h"
#include "monitor/guest_observer.h"
#include "monitor/lockstep/channel.h"
#include "monitor/options.h"
#include "translator/block_record.h"

namespace ring3::lockstep {

class Recorder : public GuestObserver, public PortTap, public HostCounter, public BlockRecordRoom {
 public:
  /// Forks the replica, which never returns from here. To be called while the process is small: before it has guest
  /// memory, windows, signal handlers or threads.
  explicit Recorder(const Options& options);
  ~Recorder() override;
  Recorder(const Recorder&) = delete;

  /// Hooks itself into the machine, which outlives the run.
  void Attach(Vcpu& vcpu, BtEngine& engine, HostSignals& signals, Translator& translator);
  /// From here on the replica follows. To be called between two instructions, when all of the state is in the Cpu.
  void Start();
  bool Started() const { return started_; }
  /// The guest was loaded (again): the replica takes over memory and state.
  void GuestLoaded() {
    if (started_) Meet(EventTag::kLoad);
  }
  void A20Changed(bool enabled) { Append(EventTag::kA20, {enabled}); }
  /// Nothing more will come for a while.
  void Flush();
  /// The replica has found a difference or died: the run should end.
  bool Failed() const { return failed_ || channel_.Differs(); }
  /// The last comparison, and the verdict on standard error. True when nothing differs.
  bool Finish(bool triple_fault);

  void MonitorActs(const CpuState& state) override;
  void TranslatedCodeLeft(bool completed) override;
  void InterruptDelivered(uint8_t vector) override;
  uint32_t ReadPort(PortBus& bus, uint16_t port, unsigned size) override;
  void WritePort(PortBus& bus, uint16_t port, unsigned size, uint32_t value) override;
  uint64_t ReadCounter() override;
  bool IsEnd(uint64_t host_address) const override { return channel_.IsEnd(host_address); }
  uint64_t NextRoom() override;

 private:
  void Append(EventTag tag, std::array<uint32_t, 15> words);
  void Append(const Event& event);
  void Meet(EventTag tag);
  bool ReplicaRuns();
  static bool ReplicaRunsHook(void* recorder) { return static_cast<Recorder*>(recorder)->ReplicaRuns(); }

  Channel channel_;
  pid_t replica_ = -1;
  bool started_ = false;  // until then, events are dropped
  bool failed_ = false;
  Vcpu* vcpu_ = nullptr;
  Translator* translator_ = nullptr;
  SystemState sent_{};
  uint64_t seen_ = 0;  // next_record when translated code was not running: what lies behind is its own
  bool completed_ = false;
  uint64_t interrupts_ = 0;
};

}  // namespace ring3::lockstep
