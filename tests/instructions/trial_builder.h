// Makes a program of one instruction, with an addressing form and everything else drawn from a seed: segments, where
// its operands lie, values, flags, FPU state, privilege.
#pragma once

#include <optional>

#include "tests/instructions/noise.h"
#include "tests/instructions/trial_space.h"

namespace ring3 {

struct SingleTrial {
  Program program;
  ZydisDecodedInstruction insn{};  // undefined if the row's mnemonic is invalid
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT]{};
  bool decoded = false;
  unsigned prefixes = 0;       // in front of the escape bytes and the opcode
  uint32_t target = 0;         // linear address and
  uint32_t operand_bytes = 0;  // size of the explicit memory operand, if there is one
  bool wraps = false;          // an operand reaches across the end of a 4 GiB segment
  bool misaligned = false;     // a 16-byte operand, or FXSAVE's
  bool system = false;         // of the groups 0F 00 and 0F 01
};

/// Nothing where row and form do not go together or the result cannot be compared (see Incomparable).
std::optional<SingleTrial> BuildTrial(const EncodingRow& row, const AddressForm& form, uint64_t seed);

/// Why the processor cannot be asked about this, or nullptr.
const char* Incomparable(const SingleTrial& trial);
/// Whether that holds for all trials of a row.
bool NeverComparable(const EncodingRow& row);

/// Flags that the SDM leaves undefined and that are not the processor's own because C++ computes the instruction: the
/// decimal ones, which 64-bit mode lacks (SDM 2A, AAA, AAD, AAM, AAS; 2A, DAA, DAS).
uint32_t UndefinedFlags(uint16_t mnemonic);

}  // namespace ring3
