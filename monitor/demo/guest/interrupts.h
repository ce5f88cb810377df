// The two 8259A interrupt controllers, the 8254 timer, and the clock that they make.
#pragma once

#include <stdint.h>

#include "traps.h"

namespace demo {

inline constexpr uint32_t kTicksPerSecond = 100;

/// Remaps both 8259A to vectors 20h-2Fh with everything masked, and programs the 8254's counter 0.
void InitInterrupts();
/// Unmasks or masks IRQ 0.
void EnableTimer(bool enable);
uint32_t TimerTicks();
/// Asked on each tick, after EOI, which frame to resume; nullptr: the one interrupted.
void SetTickHook(TrapHandler hook);

/// The section of the report. `quick` waits for fewer ticks.
void CheckInterrupts(bool quick);

}  // namespace demo
