// Near control transfer: direct exits are linked block to block, indirect ones go through the branch table.
#include <array>

#include "translator/emitter.h"
#include "translator/host_registers.h"

namespace ring3 {

using namespace asmjit;

bool Emitter::EmitJump(const GuestInstruction& insn) {
  if (!insn.IsNearBranch() || (insn.IsDirectBranch() && !Reachable(insn.BranchTarget()))) return false;
  if (insn.info.mnemonic != ZYDIS_MNEMONIC_JMP) return EmitConditional(insn);
  if (insn.IsDirectBranch()) {
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
    case ZYDIS_MNEMONIC_JCXZ:
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
  EmitNextEip(flow_.goes_on_after_branches, insn.NextEip());
  return true;
}

bool Emitter::EmitCounted(const GuestInstruction& insn) {
  if (insn.Is16BitAddress()) {
    EmitCounted16(insn);
    return true;
  }
  // 67h makes these count in ECX. They have a short form only, which suffices to jump over the other exit.
  const uint8_t opcode = insn.bytes[insn.info.raw.imm[0].offset - 1];
  uint32_t taken = EmitShortForward(std::array<uint8_t, 2>{0x67, opcode});
  EmitDirectExit(insn.NextEip());
  BindShortForward(taken);
  EmitDirectExit(insn.BranchTarget());
  EndBlock();
  return true;
}

/// CX has no counting branch in 64-bit mode: a borrowed RCX holds it, zero-extended, for one of ECX.
void Emitter::EmitCounted16(const GuestInstruction& insn) {
  const bool counts_down = insn.info.mnemonic != ZYDIS_MNEMONIC_JCXZ;
  as_.mov(x86::r8d, x86::ecx);
  if (counts_down) {
    as_.lea(x86::r9d, x86::ptr(x86::rcx, -1));
    as_.mov(x86::r8w, x86::r9w);
  }
  Label zero = as_.newLabel(), restore = as_.newLabel();
  MarkBusy(insn.eip);
  as_.movzx(x86::ecx, x86::r8w);
  as_.jecxz(x86::rcx, zero);
  as_.mov(x86::ecx, x86::r8d);
  if (insn.info.mnemonic == ZYDIS_MNEMONIC_LOOPE) as_.jnz(restore);
  if (insn.info.mnemonic == ZYDIS_MNEMONIC_LOOPNE) as_.jz(restore);
  EmitDirectExit(counts_down ? insn.BranchTarget() : insn.NextEip());
  MarkBusy(insn.eip);
  as_.bind(zero);
  as_.mov(x86::ecx, x86::r8d);
  as_.bind(restore);
  EmitDirectExit(counts_down ? insn.NextEip() : insn.BranchTarget());
  EndBlock();
}

bool Emitter::EmitLoadBranchTarget(const GuestInstruction& insn) {
  const unsigned width = insn.info.operand_width;
  if (!IndirectAllowed(width)) return false;
  const ZydisDecodedOperand& op = insn.operands[0];
  if (op.type != ZYDIS_OPERAND_TYPE_REGISTER) {
    if (!Addressable(insn, op)) return false;
    EmitLoadScratch(EmitAddress(insn, op), width / 8);
  } else if (width == 16) {
    as_.movzx(x86::r8d, host::Low16(ZydisRegisterGetId(op.reg.value)));
  } else {
    as_.mov(x86::r8d, host::Low32(ZydisRegisterGetId(op.reg.value)));
  }
  EmitTargetCheck(width);
  return true;
}

bool Emitter::EmitCall(const GuestInstruction& insn) {
  if (!insn.IsNearBranch() || !Accessible(Seg::kSs, true)) return false;
  const bool direct = insn.IsDirectBranch();
  if (direct ? !Reachable(insn.BranchTarget()) : !EmitLoadBranchTarget(insn)) return false;
  const unsigned bytes = insn.info.operand_width / 8;
  const int32_t delta = -static_cast<int32_t>(bytes);
  EmitStoreImmediate(EmitStackSlot(delta, bytes), bytes, insn.NextEip());
  EmitCallCommit(insn, delta, direct);
  const bool paired = Paired(insn.info.operand_width);
  if (direct && insn.BranchTarget() == insn.NextEip()) {  // to learn EIP: nobody returns
    EmitNextEip(paired && flow_.goes_on_after_calls, insn.NextEip());
  } else if (paired) {
    if (direct) {
      EmitDirectCall(insn.BranchTarget());
    } else {
      EmitIndirectCall();
    }
    EmitReturnSite(insn.NextEip());
  } else {
    if (direct) {
      EmitDirectExit(insn.BranchTarget());
    } else {
      EmitIndirectExit();
    }
    EndBlock();
  }
  return true;
}

/// The return address is stored: what is left is to go, and to move the stack pointer.
void Emitter::EmitCallCommit(const GuestInstruction& insn, int32_t delta, bool direct) {
  if (!mode_.Stack32()) {
    MarkBusy(insn.eip);
    return EmitStackMove(delta);
  }
  pending_ += delta;
  const RecoveryEntry there{.eip_in_scratch = !direct, .eip = direct ? insn.BranchTarget() : 0};
  Mark(there);
  SettleStack(there);
}

/// Whether calls and returns of this size are the host's, too.
bool Emitter::Paired(unsigned operand_width) const {
  return flow_.pairs_returns && operand_width == 32 && mode_.Stack32() && mode_.Code().limit == UINT32_MAX;
}

bool Emitter::EmitReturn(const GuestInstruction& insn) {
  const unsigned width = insn.info.operand_width, bytes = width / 8;
  if (!insn.IsNearBranch() || !Accessible(Seg::kSs, false) || !IndirectAllowed(width)) return false;
  const bool pops_arguments = insn.info.raw.imm[0].size != 0;
  const uint32_t arguments = pops_arguments ? static_cast<uint32_t>(insn.info.raw.imm[0].value.u & 0xFFFF) : 0;
  EmitLoadScratch(EmitStackSlot(0, bytes), bytes);
  EmitTargetCheck(width);
  EmitStackMove(static_cast<int32_t>(bytes + arguments));
  if (Paired(width)) {
    Mark(RecoveryEntry{.eip_in_scratch = true});
    as_.ret();
  } else {
    EmitIndirectExit();
  }
  EndBlock();
  return true;
}

}  // namespace ring3
