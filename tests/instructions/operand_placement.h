// Registers, displacements and memory contents such that an instruction's operands lie where it is interesting.
#pragma once

#include "tests/instructions/trial_builder.h"

namespace ring3 {

void PlaceOperands(SingleTrial& trial, Random& random);

}  // namespace ring3
