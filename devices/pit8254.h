// The Intel 8254 programmable interval timer: ports base+0..2 are the counters, base+3 is the control word.
#pragma once

#include <array>
#include <cstdint>

#include "devices/byte_port_device.h"
#include "devices/clock.h"
#include "devices/irq.h"
#include "devices/pit_channel.h"

namespace ring3 {

/// Counter 0 drives an interrupt line. Ticks that could not be delivered because the host was late, or because the
/// guest had not yet taken the one before, are made up for at four times the programmed rate, up to one second's worth.
class Pit8254 final : public BytePortDevice {
 public:
  static constexpr uint64_t kHertz = 1193182;
  static constexpr unsigned kChannels = 3;

  Pit8254(Clock& clock, TimerQueue& timers, IrqLine irq0);

  /// GATE 2 and OUT 2 are wired to port 61h.
  void SetGate2(bool high) { channels_[2].SetGate(high, Now()); }
  bool Gate2() const { return channels_[2].Gate(); }
  bool Output2() { return channels_[2].Output(Now()); }
  /// Ticks still owed to the guest.
  int64_t Backlog() const { return backlog_; }
  void Reset();

 protected:
  uint8_t ReadByte(uint16_t port) override;
  void WriteByte(uint16_t port, uint8_t value) override;

 private:
  int64_t Now() const { return static_cast<int64_t>(NanosecondsToTicks(clock_.NowNs(), kHertz)); }
  void WriteControlWord(uint8_t value, int64_t tick);
  void ReadBack(uint8_t command, int64_t tick);
  void RestartChannel0(int64_t tick);
  void RunChannel0(int64_t tick);
  void CollectEdges(int64_t tick);
  void DeliverTick();
  void ScheduleNext(int64_t tick);

  Clock& clock_;
  IrqLine irq0_;
  std::array<PitChannel, kChannels> channels_;
  std::optional<int64_t> next_edge_;  // of OUT 0, not yet seen
  int64_t backlog_ = 0;
  Timer timer_;
};

}  // namespace ring3
