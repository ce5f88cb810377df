#include "translator/soft_site.h"

#include "monitor/cpu/cpu_state.h"

namespace ring3 {
namespace {

struct RegisterPart {
  uint8_t gpr, shift;
};

std::optional<RegisterPart> PartOf(const ZydisDecodedOperand& op) {
  if (op.type != ZYDIS_OPERAND_TYPE_REGISTER) return std::nullopt;
  const ZydisRegister reg = op.reg.value;
  const auto part = [&](ZydisRegister first, uint8_t shift) {
    return RegisterPart{static_cast<uint8_t>(reg - first), shift};
  };
  if (reg >= ZYDIS_REGISTER_EAX && reg <= ZYDIS_REGISTER_EDI) return part(ZYDIS_REGISTER_EAX, 0);
  if (reg >= ZYDIS_REGISTER_AX && reg <= ZYDIS_REGISTER_DI) return part(ZYDIS_REGISTER_AX, 0);
  if (reg >= ZYDIS_REGISTER_AL && reg <= ZYDIS_REGISTER_BL) return part(ZYDIS_REGISTER_AL, 0);
  if (reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH) return part(ZYDIS_REGISTER_AH, 8);
  return std::nullopt;
}

std::optional<SoftMove> StringMove(const GuestInstruction& insn) {
  const bool moves = insn.info.mnemonic == ZYDIS_MNEMONIC_MOVSB || insn.info.mnemonic == ZYDIS_MNEMONIC_MOVSW ||
                     insn.info.mnemonic == ZYDIS_MNEMONIC_MOVSD;
  const bool stores = insn.info.mnemonic == ZYDIS_MNEMONIC_STOSB || insn.info.mnemonic == ZYDIS_MNEMONIC_STOSW ||
                      insn.info.mnemonic == ZYDIS_MNEMONIC_STOSD;
  if (insn.info.meta.category != ZYDIS_CATEGORY_STRINGOP || !(moves || stores)) return std::nullopt;
  return SoftMove{.kind = moves ? SoftKind::kMoveString : SoftKind::kStoreString,
                  .bytes = static_cast<uint8_t>(insn.operands[0].size / 8),
                  .repeated = (insn.info.attributes &
                               (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPNE | ZYDIS_ATTRIB_HAS_REPE)) != 0};
}

std::optional<SoftMove> Load(const GuestInstruction& insn) {
  const auto part = PartOf(insn.operands[0]);
  if (!part) return std::nullopt;
  return SoftMove{.kind = SoftKind::kLoad,
                  .bytes = static_cast<uint8_t>(insn.operands[1].size / 8),
                  .gpr = part->gpr,
                  .shift = part->shift,
                  .result_bytes = static_cast<uint8_t>(insn.operands[0].size / 8),
                  .is_signed = insn.info.mnemonic == ZYDIS_MNEMONIC_MOVSX};
}

std::optional<SoftMove> Store(const GuestInstruction& insn) {
  const uint8_t bytes = static_cast<uint8_t>(insn.operands[0].size / 8);
  if (insn.operands[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
    return SoftMove{.kind = SoftKind::kStoreImmediate,
                    .bytes = bytes,
                    .immediate = static_cast<uint32_t>(insn.operands[1].imm.value.u)};
  }
  const auto part = PartOf(insn.operands[1]);
  if (!part) return std::nullopt;
  return SoftMove{.kind = SoftKind::kStore, .bytes = bytes, .gpr = part->gpr, .shift = part->shift};
}

bool IsPlainOperand(const ZydisDecodedOperand& op) {
  const bool in_encoding =
      op.encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM || op.encoding == ZYDIS_OPERAND_ENCODING_DISP16_32_64;
  return in_encoding && op.mem.type == ZYDIS_MEMOP_TYPE_MEM && op.size != 0 && op.size <= 8 * kYmmBytes;
}

/// NOP and PREFETCH name memory that they do not access.
bool OnlyNamesMemory(const GuestInstruction& insn) {
  switch (insn.info.meta.category) {
    case ZYDIS_CATEGORY_NOP:
    case ZYDIS_CATEGORY_WIDENOP:
    case ZYDIS_CATEGORY_PREFETCH:
      return true;
    default:
      return false;
  }
}

/// Whether the instruction, as it stands, works on any address that stands for its one operand in memory. Not so the
/// x87's, which note where their operands are.
bool WorksOnAnyAddress(const GuestInstruction& insn) {
  if (insn.row.unit == Unit::kX87 || OnlyNamesMemory(insn)) return false;
  if (insn.ReachesBeyondOperand()) return false;
  const ZydisDecodedOperand* memory = insn.MemoryOperand();
  if (!memory || !IsPlainOperand(*memory)) return false;
  for (unsigned i = 0; i < insn.info.operand_count; ++i) {
    const ZydisDecodedOperand& op = insn.operands[i];
    if (op.type == ZYDIS_OPERAND_TYPE_MEMORY && &op != memory) return false;
    if (op.type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(op.reg.value) == ZYDIS_REGCLASS_SEGMENT &&
        op.visibility != ZYDIS_OPERAND_VISIBILITY_HIDDEN) {
      return false;
    }
  }
  return true;
}

std::optional<SoftMove> IdenticalAccess(const GuestInstruction& insn) {
  if (!WorksOnAnyAddress(insn)) return std::nullopt;
  const ZydisDecodedOperand& memory = *insn.MemoryOperand();
  return SoftMove{.kind = SoftKind::kInline,
                  .bytes = static_cast<uint8_t>(memory.size / 8),
                  .modifies = (memory.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0,
                  .faults_first = insn.row.unit == Unit::kNone};
}

bool PopsStackPointer(const GuestInstruction& insn) {
  const ZydisDecodedOperand& op = insn.operands[0];
  return insn.info.mnemonic == ZYDIS_MNEMONIC_POP && op.type == ZYDIS_OPERAND_TYPE_REGISTER &&
         op.reg.value == ZYDIS_REGISTER_ESP;
}

/// PUSH, POP, LEAVE, CALL, RET and JMP of 32 bits: what they do on the stack, and to one operand in memory beside that.
std::optional<SoftMove> StackAccess(const GuestInstruction& insn) {
  if (insn.info.operand_width != 32) return std::nullopt;
  const ZydisDecodedOperand& op = insn.operands[0];
  const bool in_memory = op.type == ZYDIS_OPERAND_TYPE_MEMORY && op.visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT;
  if (in_memory && !IsPlainOperand(op)) return std::nullopt;
  switch (insn.info.mnemonic) {
    case ZYDIS_MNEMONIC_PUSH:
    case ZYDIS_MNEMONIC_POP:
      if (insn.StacksSegment() || PopsStackPointer(insn)) return std::nullopt;
      break;
    case ZYDIS_MNEMONIC_JMP:
      if (!in_memory) return std::nullopt;
      [[fallthrough]];
    case ZYDIS_MNEMONIC_CALL:
    case ZYDIS_MNEMONIC_RET:
      if (!insn.IsNearBranch()) return std::nullopt;
      break;
    case ZYDIS_MNEMONIC_LEAVE:
      break;
    default:
      return std::nullopt;
  }
  const bool stores = insn.info.mnemonic == ZYDIS_MNEMONIC_PUSH || insn.info.mnemonic == ZYDIS_MNEMONIC_CALL;
  return SoftMove{.kind = SoftKind::kInline, .modifies = stores && !in_memory};
}

std::optional<SoftMove> InlineAccess(const GuestInstruction& insn) {
  return insn.row.cls == InstructionClass::kIdentical ? IdenticalAccess(insn) : StackAccess(insn);
}

std::optional<SoftMove> DataMove(const GuestInstruction& insn) {
  switch (insn.info.mnemonic) {
    case ZYDIS_MNEMONIC_MOV:
      if (insn.operands[0].type == ZYDIS_OPERAND_TYPE_MEMORY) return Store(insn);
      [[fallthrough]];
    case ZYDIS_MNEMONIC_MOVZX:
    case ZYDIS_MNEMONIC_MOVSX:
      return insn.operands[1].type == ZYDIS_OPERAND_TYPE_MEMORY ? Load(insn) : std::nullopt;
    default:
      return StringMove(insn);
  }
}

}  // namespace

bool AllowsInlineAccess(const GuestInstruction& insn) { return !insn.Is16BitAddress() && InlineAccess(insn); }

std::optional<SoftMove> SoftMoveOf(const GuestInstruction& insn, bool inline_accesses) {
  if (insn.Is16BitAddress()) return std::nullopt;
  const auto move = DataMove(insn);
  return move || !inline_accesses ? move : InlineAccess(insn);
}

}  // namespace ring3
