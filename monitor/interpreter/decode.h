// From CS:EIP to a decoded instruction, with the faults a fetch can raise.
#pragma once

#include "monitor/interpreter/step.h"

namespace ring3 {

/// Fetches and decodes the instruction at CS:EIP. Bytes of the next page are read only when the instruction needs them.
/// Throws #GP(0) past the CS limit or beyond 15 bytes, #PF on fetch faults. The result lives until the next call.
Decoded& FetchInstruction(Cpu& cpu);

}  // namespace ring3
