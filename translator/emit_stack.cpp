// PUSH, POP, LEAVE on the biased stack pointer: the store or load first, then the LEA that commits.
#include "translator/emitter.h"
#include "translator/host_registers.h"
#include "translator/vcpu.h"

namespace ring3 {

using namespace asmjit;

bool Emitter::EmitStack(const GuestInstruction& insn) {
  switch (insn.info.mnemonic) {
    case ZYDIS_MNEMONIC_PUSH:
      return Accessible(Seg::kSs, true) && EmitPush(insn);
    case ZYDIS_MNEMONIC_POP:
      return Accessible(Seg::kSs, false) && EmitPop(insn);
    default:
      return Accessible(Seg::kSs, false) && EmitLeave(insn);
  }
}

bool Emitter::EmitPush(const GuestInstruction& insn) {
  const unsigned bytes = insn.info.operand_width / 8;
  const int32_t delta = -static_cast<int32_t>(bytes);
  const ZydisDecodedOperand& op = insn.operands[0];
  switch (op.type) {
    case ZYDIS_OPERAND_TYPE_IMMEDIATE:
      EmitStoreImmediate(EmitStackSlot(delta, bytes), bytes, static_cast<uint32_t>(op.imm.value.s));
      break;
    case ZYDIS_OPERAND_TYPE_MEMORY:
      if (!Addressable(insn, op)) return false;
      EmitLoadScratch(EmitAddress(insn, op), bytes);
      EmitStoreScratch(EmitStackSlot(delta, bytes), bytes);
      break;
    default: {
      unsigned id = ZydisRegisterGetId(op.reg.value);
      if (ZydisRegisterGetClass(op.reg.value) == ZYDIS_REGCLASS_SEGMENT) {
        // The selector is written as a word; what a 32-bit push leaves above it is model-specific, zero on most.
        as_.movzx(x86::r8d, x86::word_ptr(x86::r12, vcpu_offset::SegmentSelector(static_cast<Seg>(id))));
        EmitStoreScratch(EmitStackSlot(delta, bytes), bytes);
      } else {
        const uint8_t mov[] = {0x89};
        EmitMemoryOp(mov, host::NumberOf(id), EmitStackSlot(delta, bytes), bytes == 2);
      }
    }
  }
  MoveStack(insn, delta);
  return true;
}

bool Emitter::EmitPop(const GuestInstruction& insn) {
  const unsigned bytes = insn.info.operand_width / 8;
  const int32_t delta = static_cast<int32_t>(bytes);
  const ZydisDecodedOperand& op = insn.operands[0];
  if (op.type == ZYDIS_OPERAND_TYPE_MEMORY) {
    if (!Addressable(insn, op)) return false;
    // An ESP base means ESP after the pop (SDM 2B, POP).
    const bool from_esp = op.mem.base == ZYDIS_REGISTER_ESP;
    if (from_esp && !mode_.Stack32()) return false;
    EmitLoadScratch(EmitStackSlot(0, bytes), bytes);
    EmitStoreScratch(EmitAddress(insn, op, from_esp ? delta : 0), bytes);
  } else {
    if (ZydisRegisterGetClass(op.reg.value) == ZYDIS_REGCLASS_SEGMENT) return EmitSegmentLoad(insn);
    unsigned id = ZydisRegisterGetId(op.reg.value);
    const uint8_t mov[] = {0x8B};
    EmitMemoryOp(mov, host::NumberOf(id), EmitStackSlot(0, bytes), bytes == 2);
    if (id == kEsp) {
      if (bytes == 4) {
        Mark(insn.NextEip());
        EmitRebias(kEsp);
      }
      return true;
    }
    if (id == kEbp && bytes == 4) {
      MoveStack(insn, delta);
      EmitFrameWritten();
      return true;
    }
  }
  MoveStack(insn, delta);
  return true;
}

bool Emitter::EmitLeave(const GuestInstruction& insn) {
  const unsigned bytes = insn.info.operand_width / 8;
  if (soft_) {
    EmitLoadScratch(EmitSoftOperand(Seg::kSs, {.base = kEbp}, bytes, false), bytes);
  } else if (FlatStack()) {
    EmitLoadScratch(EncodeOperand(host::NumberOf(kEbp), kNoRegister, 1, 0), bytes);
  } else {
    EmitOffset({.base = kEbp}, !mode_.Stack32());
    EmitLoadScratch(EmitSegmented(Seg::kSs, bytes), bytes);
  }
  if (mode_.Stack32() && bytes == 4) {
    as_.lea(x86::r15, x86::ptr(x86::rbp, 4));
    pending_ = 0;
    Mark(RecoveryEntry{.ebp_in_scratch = true, .eip = insn.NextEip()});
  } else {
    MarkBusy(insn.eip);
    as_.lea(x86::r9, x86::ptr(x86::rbp, static_cast<int32_t>(bytes)));
    if (mode_.Stack32()) {
      as_.mov(x86::r15, x86::r9);
      pending_ = 0;
    } else {
      as_.mov(x86::r15w, x86::r9w);
    }
  }
  EmitSetRegister(kEbp, bytes, x86::r8);
  return true;
}

}  // namespace ring3
