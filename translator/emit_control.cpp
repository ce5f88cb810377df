// Near control transfer: direct exits are linked block to block, indirect ones go through the branch table.
#include <array>

#include "translator/emitter.h"
#include "translator/host_registers.h"

namespace ring3 {

using namespace asmjit;

namespace {

bool IsNear(const GuestInstruction& insn) {
  return insn.info.meta.branch_type == ZYDIS_BRANCH_TYPE_NEAR || insn.info.meta.branch_type == ZYDIS_BRANCH_TYPE_SHORT;
}

bool IsDirect(const GuestInstruction& insn) { return insn.operands[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE; }

}  // namespace

bool Emitter::EmitJump(const GuestInstruction& insn) {
  if (!IsNear(insn)) return false;
  if (insn.info.mnemonic != ZYDIS_MNEMONIC_JMP) return EmitConditional(insn);
  if (IsDirect(insn)) {
    EmitDirectExit(insn.BranchTarget());
  } else {
    if (!EmitLoadBranchTarget(insn)) return false;
    emitted_class_ = InstructionClass::kIndirect;
    EmitIndirectExit();
  }
  EndBlock();
  return true;
}

bool Emitter::EmitConditional(const GuestInstruction& insn) {
  switch (insn.info.mnemonic) {
    case ZYDIS_MNEMONIC_JECXZ:
    case ZYDIS_MNEMONIC_LOOP:
    case ZYDIS_MNEMONIC_LOOPE:
    case ZYDIS_MNEMONIC_LOOPNE:
      return EmitCounted(insn);
    default:
      break;
  }
  // The low four bits of the opcode are the condition in both the short and the near form.
  const uint8_t condition = insn.bytes[insn.info.raw.imm[0].offset - 1] & 0xF;
  if (Linkable(insn.BranchTarget())) {
    const uint8_t jump[] = {0x0F, static_cast<uint8_t>(0x80 | condition)};
    EmitLinkedJump(jump, insn.BranchTarget());
  } else {
    const uint8_t inverse = condition ^ 1;
    uint32_t skip = EmitShortForward(std::array{static_cast<uint8_t>(0x70 | inverse)});
    EmitDirectExit(insn.BranchTarget());
    BindShortForward(skip);
  }
  EmitDirectExit(insn.NextEip());
  EndBlock();
  return true;
}

bool Emitter::EmitCounted(const GuestInstruction& insn) {
  if (insn.Is16BitAddress()) return false;
  // 67h makes these count in ECX. They have a short form only, which suffices to jump over the other exit.
  const uint8_t opcode = insn.bytes[insn.info.raw.imm[0].offset - 1];
  uint32_t taken = EmitShortForward(std::array<uint8_t, 2>{0x67, opcode});
  EmitDirectExit(insn.NextEip());
  BindShortForward(taken);
  EmitDirectExit(insn.BranchTarget());
  EndBlock();
  return true;
}

bool Emitter::EmitLoadBranchTarget(const GuestInstruction& insn) {
  if (insn.info.operand_width != 32) return false;
  const ZydisDecodedOperand& op = insn.operands[0];
  if (op.type == ZYDIS_OPERAND_TYPE_REGISTER) {
    as_.mov(x86::r8d, host::Low32(ZydisRegisterGetId(op.reg.value)));
    return true;
  }
  if (!Addressable(insn, op)) return false;
  EmitLoadScratch(EmitAddress(op), 4);
  return true;
}

bool Emitter::EmitCall(const GuestInstruction& insn) {
  if (!IsNear(insn) || !FlatStack() || insn.info.operand_width != 32) return false;
  if (!IsDirect(insn) && !EmitLoadBranchTarget(insn)) return false;
  as_.mov(x86::dword_ptr(x86::r15, -4), insn.NextEip());
  if (IsDirect(insn)) {
    Mark(insn.BranchTarget(), -4);
    as_.lea(x86::r15, x86::ptr(x86::r15, -4));
    EmitDirectExit(insn.BranchTarget());
  } else {
    Mark(RecoveryEntry{.esp_delta = -4, .eip_in_scratch = true});
    as_.lea(x86::r15, x86::ptr(x86::r15, -4));
    EmitIndirectExit();
  }
  EndBlock();
  return true;
}

bool Emitter::EmitReturn(const GuestInstruction& insn) {
  if (!IsNear(insn) || !FlatStack() || insn.info.operand_width != 32) return false;
  const bool pops_arguments = insn.info.raw.imm[0].size != 0;
  const int32_t pop = 4 + (pops_arguments ? static_cast<int32_t>(insn.info.raw.imm[0].value.u & 0xFFFF) : 0);
  as_.mov(x86::r8d, x86::dword_ptr(x86::r15));
  as_.lea(x86::r15, x86::ptr(x86::r15, pop));
  EmitIndirectExit();
  EndBlock();
  return true;
}

}  // namespace ring3
