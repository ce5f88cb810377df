#include "monitor/cpu/vex.h"

namespace ring3 {
namespace {

/// Instructions that transfer a general register, or memory instead of one.
bool MovesGeneralRegister(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_VMOVD:
    case ZYDIS_MNEMONIC_VPINSRB:
    case ZYDIS_MNEMONIC_VPINSRW:
    case ZYDIS_MNEMONIC_VPINSRD:
    case ZYDIS_MNEMONIC_VPEXTRB:
    case ZYDIS_MNEMONIC_VPEXTRW:
    case ZYDIS_MNEMONIC_VPEXTRD:
    case ZYDIS_MNEMONIC_VEXTRACTPS:
    case ZYDIS_MNEMONIC_VCVTSI2SS:
    case ZYDIS_MNEMONIC_VCVTSI2SD:
    case ZYDIS_MNEMONIC_VCVTSS2SI:
    case ZYDIS_MNEMONIC_VCVTSD2SI:
    case ZYDIS_MNEMONIC_VCVTTSS2SI:
    case ZYDIS_MNEMONIC_VCVTTSD2SI:
      return true;
    default:
      return false;
  }
}

bool UsesGeneralRegister(const ZydisDecodedInstruction& insn, const ZydisDecodedOperand* operands) {
  for (unsigned i = 0; i < insn.operand_count; ++i) {
    if (operands[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
        ZydisRegisterGetClass(operands[i].reg.value) == ZYDIS_REGCLASS_GPR32) {
      return true;
    }
  }
  return MovesGeneralRegister(insn.mnemonic);
}

}  // namespace

unsigned VexPrefix::Encode(uint8_t* out) const {
  const auto tail = static_cast<uint8_t>((~vvvv & 0xF) << 3 | l << 2 | pp);
  if (!x && !b && !w && map == 1) {
    out[0] = 0xC5;
    out[1] = static_cast<uint8_t>(!r << 7 | tail);
    return 2;
  }
  out[0] = 0xC4;
  out[1] = static_cast<uint8_t>(!r << 7 | !x << 6 | !b << 5 | map);
  out[2] = static_cast<uint8_t>(w << 7 | tail);
  return 3;
}

VexPrefix VexOf(const ZydisDecodedInstruction& insn, const ZydisDecodedOperand* operands) {
  constexpr uint8_t kRegisterMask = 7;
  const auto& raw = insn.raw.vex;
  return {.map = raw.m_mmmm,
          .vvvv = static_cast<uint8_t>(~raw.vvvv & kRegisterMask),
          .pp = raw.pp,
          .w = raw.W && !UsesGeneralRegister(insn, operands),
          .l = raw.L != 0};
}

bool HasRegisterImmediate(const ZydisDecodedInstruction& insn, const ZydisDecodedOperand* operands) {
  for (unsigned i = 0; i < insn.operand_count_visible; ++i) {
    if (operands[i].encoding == ZYDIS_OPERAND_ENCODING_IS4) return true;
  }
  return false;
}

}  // namespace ring3
