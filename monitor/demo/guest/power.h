// Ways to end the run.
#pragma once

namespace demo {

/// ACPI S5 through PM1a control; where that does nothing, QEMU's isa-debug-exit with 1 for failed; then HLT for good.
[[noreturn]] void PowerOff(bool failed);

}  // namespace demo
