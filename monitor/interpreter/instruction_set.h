// Which CPU features an instruction belongs to, and which FPU state it touches.
#pragma once

#include "monitor/interpreter/step.h"

namespace ring3 {

FeatureNeed NeedOf(const Decoded& d);
FpuUse FpuUseOf(const Decoded& d);
/// Whether the model executes the instruction at all; otherwise it is #UD.
bool Available(const CpuModel& model, const FeatureNeed& need);

}  // namespace ring3
