// What host instructions leave in registers, as far as the rules need to know.
#pragma once

#include "tests/emitted/host_rules.h"

namespace ring3 {

/// What an operand that is read holds.
HostValue Moved(const ZydisDecodedOperand& from, const HostState& before);

/// What the general register `op` holds after `insn` wrote it.
HostValue Result(const HostInstruction& insn, const ZydisDecodedOperand& op, const HostState& before);

}  // namespace ring3
