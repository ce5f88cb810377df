// IDENT: the guest's own bytes with prefixes. Only what 64-bit mode changed is re-encoded: 40h-4Fh, 82h, moffs, ESP as
// an operand (it lives in r15), and memory operands (memory_operand.h).
#include <algorithm>
#include <cstring>
#include <utility>

#include "translator/emitter.h"
#include "translator/host_registers.h"

namespace ring3 {
namespace {

/// An instruction taken apart into the fields that change between the modes.
struct Parts {
  uint8_t prefixes[8];
  uint8_t prefix_count = 0;
  uint8_t opcode[4];
  uint8_t opcode_bytes = 0;
  bool has_modrm = false;
  uint8_t reg = 0;            // ModRM.reg, REX.R included
  uint8_t rm_register = 0;    // ModRM.rm when no memory operand, REX.B included
  bool needs_no_rex = false;  // AH, CH, DH or BH is named
  bool opcode_rex_b = false;  // REX.B for a register in the opcode
  uint8_t immediate[8];
  uint8_t immediate_bytes = 0;
  std::optional<VexPrefix> vex;
};

/// Whether 66h means the operand size rather than a part of the opcode.
bool HasOperandSize(const GuestInstruction& insn) {
  return insn.row.unit == Unit::kNone || insn.info.mnemonic == ZYDIS_MNEMONIC_CRC32 ||
         insn.info.mnemonic == ZYDIS_MNEMONIC_POPCNT;
}

void TakePrefixes(const GuestInstruction& insn, bool code16, Parts& parts) {
  const auto& raw = insn.info.raw;
  constexpr uint8_t kOperandSize = 0x66;
  const bool resized = code16 && HasOperandSize(insn) && !IsVex(insn.info);
  if (resized && insn.info.operand_width == 16) parts.prefixes[parts.prefix_count++] = kOperandSize;
  for (unsigned i = 0; i < raw.prefix_count; ++i) {
    uint8_t value = raw.prefixes[i].value;
    bool mandatory = raw.prefixes[i].type == ZYDIS_PREFIX_TYPE_MANDATORY;
    // REP prefixes without a meaning here may have one on the host (TZCNT, HLE); segments and 67h are rebuilt.
    const bool keep = (value == kOperandSize && (mandatory || !resized)) || value == 0xF0 ||
                      ((value == 0xF2 || value == 0xF3) && mandatory);
    const bool seen =
        std::find(parts.prefixes, parts.prefixes + parts.prefix_count, value) != parts.prefixes + parts.prefix_count;
    if (keep && !seen) parts.prefixes[parts.prefix_count++] = value;
  }
  if (insn.info.mnemonic == ZYDIS_MNEMONIC_PAUSE && parts.prefix_count == 0)
    parts.prefixes[parts.prefix_count++] = 0xF3;
}

void TakeOpcode(const GuestInstruction& insn, Parts& parts) {
  const auto& raw = insn.info.raw;
  uint8_t first = IsVex(insn.info) ? raw.vex.offset + raw.vex.size : raw.prefix_count;
  uint8_t end = insn.length;
  if (raw.imm[0].size) end = raw.imm[0].offset;
  if (raw.disp.size && raw.disp.offset < end) end = raw.disp.offset;
  if (insn.info.attributes & ZYDIS_ATTRIB_HAS_MODRM) end = raw.modrm.offset;
  parts.opcode_bytes = end - first;
  std::memcpy(parts.opcode, insn.bytes + first, parts.opcode_bytes);
  if (raw.imm[0].size) {
    parts.immediate_bytes = insn.length - raw.imm[0].offset;
    std::memcpy(parts.immediate, insn.bytes + raw.imm[0].offset, parts.immediate_bytes);
  }
  parts.has_modrm = insn.info.attributes & ZYDIS_ATTRIB_HAS_MODRM;
  parts.reg = raw.modrm.reg;
  parts.rm_register = raw.modrm.rm;
}

void TakeVex(const GuestInstruction& insn, Parts& parts) {
  if (!IsVex(insn.info)) return;
  parts.vex = VexOf(insn.info, insn.operands);
  if (HasRegisterImmediate(insn.info, insn.operands)) parts.immediate[0] &= kRegisterImmediateMask;
}

/// Moves ESP operands to r15 and notes the high byte registers.
void MapRegisters(const GuestInstruction& insn, Parts& parts) {
  for (unsigned i = 0; i < insn.info.operand_count; ++i) {
    const ZydisDecodedOperand& op = insn.operands[i];
    if (op.type != ZYDIS_OPERAND_TYPE_REGISTER || op.visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN) continue;
    ZydisRegisterClass cls = ZydisRegisterGetClass(op.reg.value);
    if (cls == ZYDIS_REGCLASS_GPR8) {
      parts.needs_no_rex |= op.reg.value >= ZYDIS_REGISTER_AH && op.reg.value <= ZYDIS_REGISTER_BH;
      continue;
    }
    bool is_esp = op.reg.value == ZYDIS_REGISTER_ESP || op.reg.value == ZYDIS_REGISTER_SP;
    if (!is_esp) continue;
    switch (op.encoding) {
      case ZYDIS_OPERAND_ENCODING_MODRM_REG:
        parts.reg = host::kStack;
        break;
      case ZYDIS_OPERAND_ENCODING_MODRM_RM:
        parts.rm_register = host::kStack;
        break;
      case ZYDIS_OPERAND_ENCODING_NDSNDD:
        parts.vex->vvvv = host::kStack;
        break;
      case ZYDIS_OPERAND_ENCODING_OPCODE:
        parts.opcode[parts.opcode_bytes - 1] |= 7;
        parts.opcode_rex_b = true;
        break;
      default:
        break;
    }
  }
}

/// Opcodes that 64-bit mode gave away.
void Reencode(const GuestInstruction& insn, Parts& parts) {
  uint8_t op = parts.opcode[0];
  bool one_byte = parts.opcode_bytes == 1 && !parts.vex;
  if (one_byte && op >= 0x40 && op <= 0x4F) {  // INC/DEC r
    uint8_t reg = insn.bytes[insn.length - 1] & 7;
    parts.opcode[0] = 0xFF;
    parts.opcode_rex_b = false;
    parts.has_modrm = true;
    parts.reg = op >= 0x48 ? 1 : 0;
    parts.rm_register = host::NumberOf(reg);
  } else if (one_byte && op == 0x82) {
    parts.opcode[0] = 0x80;
  } else if (one_byte && op >= 0xA0 && op <= 0xA3 && insn.info.mnemonic == ZYDIS_MNEMONIC_MOV) {  // moffs
    constexpr uint8_t kTwin[] = {0x8A, 0x8B, 0x88, 0x89};
    parts.opcode[0] = kTwin[op - 0xA0];
    parts.has_modrm = true;
    parts.reg = kEax;
    parts.immediate_bytes = 0;
  }
}

bool Writes(const GuestInstruction& insn, ZydisRegister reg) {
  for (unsigned i = 0; i < insn.info.operand_count; ++i) {
    const ZydisDecodedOperand& op = insn.operands[i];
    if (op.type == ZYDIS_OPERAND_TYPE_REGISTER && op.reg.value == reg &&
        (op.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)) {
      return true;
    }
  }
  return false;
}

/// Whether a 32-bit destination may keep all of its 64 bits: BSF and BSR of zero, CMPXCHG of unequal values.
bool MayLeaveAlone(ZydisMnemonic mnemonic) {
  return mnemonic == ZYDIS_MNEMONIC_BSF || mnemonic == ZYDIS_MNEMONIC_BSR || mnemonic == ZYDIS_MNEMONIC_CMPXCHG;
}

bool NamesSystemRegister(const GuestInstruction& insn) {
  for (unsigned i = 0; i < insn.info.operand_count_visible; ++i) {
    if (insn.operands[i].type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
    switch (ZydisRegisterGetClass(insn.operands[i].reg.value)) {
      case ZYDIS_REGCLASS_SEGMENT:
      case ZYDIS_REGCLASS_CONTROL:
      case ZYDIS_REGCLASS_DEBUG:
      case ZYDIS_REGCLASS_TEST:
        return true;
      default:
        break;
    }
  }
  return false;
}

}  // namespace

/// Between ESP and EBP, which are biased alike.
bool Emitter::EmitFrameMove(const GuestInstruction& insn) {
  if (insn.info.mnemonic != ZYDIS_MNEMONIC_MOV || insn.info.operand_width != 32) return false;
  if (insn.operands[0].type != ZYDIS_OPERAND_TYPE_REGISTER || insn.operands[1].type != ZYDIS_OPERAND_TYPE_REGISTER) {
    return false;
  }
  ZydisRegister to = insn.operands[0].reg.value, from = insn.operands[1].reg.value;
  if (to == ZYDIS_REGISTER_EBP && from == ZYDIS_REGISTER_ESP) {
    if (pending_ == 0) {
      as_.mov(asmjit::x86::rbp, asmjit::x86::r15);
    } else {
      as_.lea(asmjit::x86::rbp, asmjit::x86::ptr(asmjit::x86::r15, pending_));
    }
    plain_frame_ = false;
  } else if (to == ZYDIS_REGISTER_ESP && from == ZYDIS_REGISTER_EBP) {
    SettleFrame();
    as_.mov(asmjit::x86::r15, asmjit::x86::rbp);
  } else {
    return false;
  }
  return true;
}

/// LEA over a 16-bit address: the sum is cut before it is stored.
bool Emitter::EmitLoadAddress16(const GuestInstruction& insn) {
  EmitOffset(AddressOf(insn.operands[1]), true);
  EmitSetRegister(ZydisRegisterGetId(insn.operands[0].reg.value), insn.info.operand_width / 8, asmjit::x86::r9);
  return true;
}

/// AH, CH, DH and BH cannot be named beside an operand in the high registers: RBP, which needs no prefix, holds the
/// address meanwhile.
void Emitter::EmitWithoutRex(const GuestInstruction& insn, HostEncoding encoding) {
  constexpr uint8_t kRbp = 5;
  const uint8_t lea[] = {0x8D};
  HostOperand address = encoding.operand;
  encoding.operand = EncodeOperand(kRbp, kNoRegister, 1, 0);
  encoding.operand.gs = address.gs;
  const bool offset = std::exchange(address.gs, false);
  address.address32 = false;
  as_.mov(asmjit::x86::r8, asmjit::x86::rbp);
  EmitEncoding({.opcode = lea, .wide = !offset, .reg = kRbp, .operand = address});
  Mark(RecoveryEntry{.ebp_in_scratch = true, .eip = insn.eip});
  EmitEncoding(encoding);
  Mark(RecoveryEntry{.ebp_in_scratch = true, .eip = insn.NextEip()});
  as_.mov(asmjit::x86::rbp, asmjit::x86::r8);
}

bool Emitter::EmitIdentical(const GuestInstruction& insn) {
  if (NamesSystemRegister(insn)) {
    Settle({.eip = insn.eip});
    return EmitSegmentMove(insn);
  }
  if (EmitFrameMove(insn) || EmitStackAdjust(insn)) return true;
  const ZydisDecodedOperand* memory = insn.MemoryOperand();
  if (memory && !Addressable(insn, *memory)) return false;
  if (IsVex(insn.info) && mode_.Paragraphs()) return false;  // VEX exists in protected mode alone
  if (memory && memory->mem.type == ZYDIS_MEMOP_TYPE_AGEN && insn.Is16BitAddress()) return EmitLoadAddress16(insn);

  Parts parts;
  TakePrefixes(insn, mode_.Code16(), parts);
  TakeOpcode(insn, parts);
  TakeVex(insn, parts);
  MapRegisters(insn, parts);
  Reencode(insn, parts);

  HostEncoding encoding{.prefixes = {parts.prefixes, parts.prefix_count},
                        .opcode = {parts.opcode, parts.opcode_bytes},
                        .immediate = {parts.immediate, parts.immediate_bytes},
                        .has_modrm = parts.has_modrm,
                        .reg = parts.reg,
                        .opcode_rex_b = parts.opcode_rex_b,
                        .vex = parts.vex};
  if (memory) {
    encoding.operand = EmitAddress(insn, *memory, 0, parts.needs_no_rex);
  } else if (parts.has_modrm) {
    encoding.operand = {.rex_b = parts.rm_register >= 8, .mod = 3, .rm = static_cast<uint8_t>(parts.rm_register & 7)};
  }
  if (!parts.vex && encoding.Rex() && parts.needs_no_rex) {
    EmitWithoutRex(insn, encoding);
  } else {
    EmitEncoding(encoding);
  }

  for (auto [reg, gpr] : {std::pair{ZYDIS_REGISTER_ESP, kEsp}, std::pair{ZYDIS_REGISTER_EBP, kEbp}}) {
    if (!Writes(insn, reg)) continue;
    Mark(insn.NextEip());
    if (MayLeaveAlone(insn.info.mnemonic)) as_.mov(host::Low32(gpr), host::Low32(gpr));
    if (gpr == kEbp) {
      EmitFrameWritten();
    } else {
      EmitRebias(gpr);
    }
  }
  return true;
}

}  // namespace ring3
