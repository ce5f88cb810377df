// Which handler executes a decoded instruction.
#pragma once

#include "monitor/interpreter/step.h"

namespace ring3 {

Handler HandlerFor(const Decoded& d);

}  // namespace ring3
