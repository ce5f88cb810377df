// What there is to try: every opcode of the maps in its register and memory forms, and every way to address memory.
#pragma once

#include <Zydis/Zydis.h>

#include <string>
#include <vector>

#include "tests/translator/program.h"

namespace ring3 {

enum class OperandForm : uint8_t { kNone, kRegister, kMemory };  // what ModRM names, if there is one

/// One instruction of the opcode maps.
struct EncodingRow {
  Bytes opcode;  // prefix, escape bytes, opcode
  ZydisMnemonic mnemonic = ZYDIS_MNEMONIC_INVALID;
  OperandForm form = OperandForm::kNone;
  bool offered = false;  // by the "max" model; else it is #UD
  /// ModRM bytes that mean this instruction: whole ones with registers, those with mod and rm 0 with memory.
  std::vector<uint8_t> modrm;

  std::string Name() const;
};

/// All rows of the one-, two- and three-byte maps with each prefix that may select an instruction there. Encodings that
/// mean nothing are rows too, without a mnemonic.
const std::vector<EncodingRow>& AllRows();

/// One combination of ModRM's mod and rm with SIB.
struct AddressForm {
  bool address16 = false;
  uint8_t mod = 0, rm = 0, sib = 0;

  bool HasSib() const { return !address16 && rm == 4; }
  std::string Name() const;
};

const std::vector<AddressForm>& AllAddressForms();

}  // namespace ring3
