// The other side of a lockstep run: a machine without devices, in a process of its own, that executes the same guest
// one instruction at a time on what the recorder tells it, and compares.
#pragma once

#include <sys/types.h>

#include <array>
#include <vector>

#include "devices/shadow_ram.h"
#include "monitor/boot/bios.h"
#include "monitor/bt_engine.h"
#include "monitor/lockstep/channel.h"
#include "monitor/lockstep/memory_compare.h"
#include "monitor/lockstep/report.h"
#include "monitor/options.h"

namespace ring3::lockstep {

class Replica : private PortTap, private HostCounter, private GuestObserver {
 public:
  Replica(Channel& channel, const Options& options, pid_t recorder);

  /// Until the recorder's end or the first difference, whose report goes into the meeting.
  void Run();

 private:
  // replica.cpp: one method for each kind of event
  bool Follow(const Event& event);
  void FollowBlock(const BlockRecord& record);
  void FollowPosition(const BlockRecord& record);
  void FollowSystem(const SystemPiece& piece);
  void Load();
  void Compare();
  void Answer();

  void Step();
  void RunTo(const BlockRecord& there, bool is_position);
  void RunToInstruction(const BlockRecord& there);
  void FinishBlock();
  bool ExitedAs(ExitReason reason) const {
    return !interpret_ && vcpu_.run.exit_reason == static_cast<uint32_t>(reason);
  }
  bool At(const BlockRecord& there, bool is_position) const;
  bool RepeatPart(const BlockRecord& there);
  void Execute();
  bool TripleFaults();
  std::array<uint32_t, 15> Expect(EventTag tag, uint16_t port, unsigned size);
  [[noreturn]] void Differ(const std::string& what);

  uint32_t ReadPort(PortBus& bus, uint16_t port, unsigned size) override;
  void WritePort(PortBus& bus, uint16_t port, unsigned size, uint32_t value) override;
  uint64_t ReadCounter() override;
  void MonitorActs(const CpuState& state) override;
  void TranslatedCodeLeft(bool) override {}
  void InterruptDelivered(uint8_t) override {}

  Channel& channel_;
  const bool interpret_;
  const pid_t recorder_;
  const Bytes bios_;
  PhysicalMemory physical_;
  std::optional<ShadowRam> shadow_ram_;  // as after RESET
  ShadowMmu mmu_;
  LinearMemory linear_;
  PortBus ports_;
  Vcpu vcpu_;
  Translator translator_;
  ExitTrace trace_;
  BtEngine engine_;
  HostSignals signals_;
  MemoryCompare memory_;

  Counts counts_;
  SystemState theirs_{};
  std::vector<uint8_t> system_pieces_;
  BlockRecord last_block_, there_;  // the block entered last, and where the recorder was seen last
  bool in_block_ = false;           // last_block_ is the last that is known of the recorder
  uint32_t step_eip_ = 0;           // where the present step began
  bool consumed_ = false;           // a step took an event
  Path path_;
};

}  // namespace ring3::lockstep
