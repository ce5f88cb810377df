// FPU state and memory contents with numbers of every kind.
#pragma once

#include <array>

#include "tests/instructions/noise.h"
#include "tests/translator/program.h"

namespace ring3 {

/// An FXSAVE image: numbers of all kinds in registers, any control and status words, now and then with unmasked or
/// pending exceptions.
std::array<uint8_t, 512> NoisyFpu(Random& random);

/// Contents for an operand of that many bytes: integers at boundaries or floating-point numbers of all kinds, as they
/// fit.
Bytes NoisyOperand(unsigned bytes, Random& random);

}  // namespace ring3
