#include "devices/pit8254.h"

#include <algorithm>

namespace ring3 {
namespace {

constexpr uint16_t kRegisterMask = 3;
constexpr uint16_t kControlRegister = 3;
constexpr unsigned kSelectShift = 6;
constexpr unsigned kReadBackSelect = 3;
constexpr uint8_t kAccessMask = 0x30;  // 0: counter latch command
// Read-back command; both latch bits are active low.
constexpr uint8_t kReadBackNoCount = 0x20;
constexpr uint8_t kReadBackNoStatus = 0x10;
constexpr unsigned kReadBackChannelShift = 1;

constexpr int64_t kCatchUpFactor = 4;
constexpr int64_t kMinimumCatchUpTicks = 120;  // about 100 us

}  // namespace

Pit8254::Pit8254(Clock& clock, TimerQueue& timers, IrqLine irq0)
    : clock_(clock),
      irq0_(irq0),
      timer_(timers, [this](uint64_t now) { RunChannel0(static_cast<int64_t>(NanosecondsToTicks(now, kHertz))); }) {
  Reset();
}

void Pit8254::Reset() {
  channels_ = {};
  channels_[2].SetGate(false, Now());
  next_edge_.reset();
  backlog_ = 0;
  timer_.Cancel();
  irq0_.Set(false);
}

uint8_t Pit8254::ReadByte(uint16_t port) {
  const unsigned index = port & kRegisterMask;
  if (index == kControlRegister) return 0xFF;  // write-only
  return channels_[index].ReadByte(Now());
}

void Pit8254::WriteByte(uint16_t port, uint8_t value) {
  const unsigned index = port & kRegisterMask;
  const int64_t tick = Now();
  if (index == kControlRegister) {
    WriteControlWord(value, tick);
  } else if (index == 0) {
    CollectEdges(tick);  // under the old count
    channels_[0].WriteByte(value, tick);
    RestartChannel0(tick);
  } else {
    channels_[index].WriteByte(value, tick);
  }
}

void Pit8254::WriteControlWord(uint8_t value, int64_t tick) {
  const unsigned select = value >> kSelectShift;
  if (select == kReadBackSelect) {
    ReadBack(value, tick);
  } else if ((value & kAccessMask) == 0) {
    channels_[select].LatchCount(tick);
  } else {
    channels_[select].WriteControl(value, tick);
    if (select != 0) return;
    backlog_ = 0;
    irq0_.Set(channels_[0].Output(tick));
    RestartChannel0(tick);
  }
}

void Pit8254::ReadBack(uint8_t command, int64_t tick) {
  for (unsigned i = 0; i < kChannels; ++i) {
    if ((command >> (kReadBackChannelShift + i) & 1) == 0) continue;
    if ((command & kReadBackNoCount) == 0) channels_[i].LatchCount(tick);
    if ((command & kReadBackNoStatus) == 0) channels_[i].LatchStatus(tick);
  }
}

void Pit8254::RestartChannel0(int64_t tick) {
  // Between the edges of modes 2 and 3 the line is simply left high; in the others it follows OUT.
  if (!channels_[0].Periodic()) irq0_.Set(channels_[0].Output(tick));
  next_edge_ = channels_[0].NextRise(tick);
  ScheduleNext(tick);
}

void Pit8254::CollectEdges(int64_t tick) {
  if (!next_edge_ || *next_edge_ > tick) return;
  ++backlog_;
  const int64_t seen = *next_edge_;
  next_edge_ = channels_[0].NextRise(seen);
  if (!channels_[0].Periodic()) return;
  if (next_edge_ && *next_edge_ <= tick) {
    const int64_t period = channels_[0].Period();
    const int64_t missed = (tick - *next_edge_) / period + 1;
    backlog_ += missed;
    *next_edge_ += missed * period;
  }
  const int64_t one_second = std::max<int64_t>(1, static_cast<int64_t>(kHertz) / channels_[0].Period());
  backlog_ = std::min(backlog_, one_second);
}

void Pit8254::DeliverTick() {
  switch (irq0_.State()) {
    case IrqState::kMasked:  // the guest does not want ticks: nothing is owed, but the controller latches one
      backlog_ = 0;
      irq0_.Pulse();
      break;
    case IrqState::kIdle:
      --backlog_;
      irq0_.Pulse();
      break;
    case IrqState::kPending:
      break;
  }
}

void Pit8254::RunChannel0(int64_t tick) {
  CollectEdges(tick);
  if (backlog_ > 0) DeliverTick();
  ScheduleNext(tick);
}

void Pit8254::ScheduleNext(int64_t tick) {
  std::optional<int64_t> due = next_edge_;
  if (backlog_ > 0) {
    const int64_t retry = tick + std::max(channels_[0].Period() / kCatchUpFactor, kMinimumCatchUpTicks);
    due = std::min(due.value_or(retry), retry);
  }
  if (due) {
    timer_.Schedule(TicksToNanoseconds(static_cast<uint64_t>(*due), kHertz));
  } else {
    timer_.Cancel();
  }
}

}  // namespace ring3
