// Who wants to know where the processor stands each time the monitor acts on it (lockstep).
#pragma once

#include <cstdint>

#include "monitor/cpu/cpu_state.h"

namespace ring3 {

class GuestObserver {
 public:
  virtual ~GuestObserver() = default;
  /// The monitor is about to interpret an instruction, deliver something, or enter a block again that did not run to
  /// its end. Between two calls translated code runs whole blocks only.
  virtual void MonitorActs(const CpuState& state) = 0;
  /// Translated code was left; `completed`: at the end of a block.
  virtual void TranslatedCodeLeft(bool completed) = 0;
  /// An interrupt is delivered at the state shown last.
  virtual void InterruptDelivered(uint8_t vector) = 0;
};

}  // namespace ring3
