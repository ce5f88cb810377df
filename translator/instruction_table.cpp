#include "translator/instruction_table.h"

#include <array>

namespace ring3 {
namespace {

struct Tables {
  std::array<InstructionRow, ZYDIS_MNEMONIC_MAX_VALUE + 1> by_mnemonic;
  std::array<bool, ZYDIS_MNEMONIC_MAX_VALUE + 1> has_row{};
  std::array<InstructionRow, ZYDIS_ISA_EXT_MAX_VALUE + 1> by_extension;
};

constexpr Tables MakeTables() {
  Tables t{};
#define RING3_EXTENSION(ext, unit, cls) t.by_extension[ZYDIS_ISA_EXT_##ext] = {InstructionClass::cls, Unit::unit};
#define RING3_INSTRUCTION(mnemonic, c)                                \
  t.by_mnemonic[ZYDIS_MNEMONIC_##mnemonic].cls = InstructionClass::c; \
  t.has_row[ZYDIS_MNEMONIC_##mnemonic] = true;
#include "translator/instructions.def"
#undef RING3_EXTENSION
#undef RING3_INSTRUCTION
  return t;
}

constexpr Tables kTables = MakeTables();

}  // namespace

InstructionRow FindRow(const ZydisDecodedInstruction& instruction) {
  InstructionRow row = kTables.by_extension[instruction.meta.isa_ext];
  // MOVSD and CMPSD name both a string and an SSE2 instruction; the extension tells which.
  bool simd = row.unit != Unit::kNone;
  bool string_name = instruction.mnemonic == ZYDIS_MNEMONIC_MOVSD || instruction.mnemonic == ZYDIS_MNEMONIC_CMPSD;
  if (kTables.has_row[instruction.mnemonic] && !(simd && string_name)) {
    row.cls = kTables.by_mnemonic[instruction.mnemonic].cls;
  }
  return row;
}

}  // namespace ring3
