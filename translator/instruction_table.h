// Lookup in the instruction table (instructions.def).
#pragma once

#include <Zydis/Zydis.h>

#include "translator/instruction_class.h"

namespace ring3 {

struct InstructionRow {
  InstructionClass cls = InstructionClass::kInterpret;
  Unit unit = Unit::kNone;
};

/// The row that governs a decoded instruction: by mnemonic, else by extension, else kInterpret.
InstructionRow FindRow(const ZydisDecodedInstruction& instruction);

}  // namespace ring3
