// Synthetic time and interrupt lines for the device tests.
#pragma once

#include <cstdint>
#include <vector>

#include "devices/clock.h"
#include "devices/irq.h"
#include "devices/port_bus.h"

namespace ring3 {

/// Moves the clock, firing every timer exactly at its deadline on the way.
inline void AdvanceExactly(ManualClock& clock, TimerQueue& timers, uint64_t ns) {
  const uint64_t end = clock.NowNs() + ns;
  while (timers.NextDeadline() && *timers.NextDeadline() <= end) {
    clock.Set(*timers.NextDeadline());
    timers.RunExpired(clock.NowNs());
  }
  clock.Set(end);
}

/// Records the level and the rising edges of each line; takes every edge at once unless told to hold.
class RecordingIrqs final : public IrqSink {
 public:
  void SetIrq(unsigned irq, bool level) override {
    if (level && !levels[irq]) ++edges[irq];
    levels[irq] = level;
  }
  IrqState GetIrqState(unsigned) const override { return state; }

  bool levels[16] = {};
  unsigned edges[16] = {};
  IrqState state = IrqState::kIdle;
};

}  // namespace ring3
