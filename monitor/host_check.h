// What ring3 needs of the host's CPU and kernel.
#pragma once

namespace ring3 {

/// Throws UsageError naming what is missing. RING3_HIDE_CPU_FEATURE=fsgsbase (or bmi2) pretends the host lacks it.
void CheckHost();

}  // namespace ring3
