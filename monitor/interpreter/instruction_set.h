// Which FPU state an instruction touches.
#pragma once

#include "monitor/interpreter/step.h"

namespace ring3 {

FpuUse FpuUseOf(const Decoded& d);

}  // namespace ring3
