// PUSH, POP, LEAVE on the biased stack pointer: the store or load first, then the LEA that commits.
#include "translator/emitter.h"
#include "translator/host_registers.h"
#include "translator/vcpu.h"

namespace ring3 {

using namespace asmjit;

bool Emitter::EmitStack(const GuestInstruction& insn) {
  if (!FlatStack()) return false;
  switch (insn.info.mnemonic) {
    case ZYDIS_MNEMONIC_PUSH:
      return EmitPush(insn);
    case ZYDIS_MNEMONIC_POP:
      return EmitPop(insn);
    default:
      return EmitLeave(insn);
  }
}

bool Emitter::EmitPush(const GuestInstruction& insn) {
  const unsigned bytes = insn.info.operand_width / 8;
  const int32_t delta = -static_cast<int32_t>(bytes);
  const ZydisDecodedOperand& op = insn.operands[0];
  const x86::Mem slot = bytes == 2 ? x86::word_ptr(x86::r15, delta) : x86::dword_ptr(x86::r15, delta);
  switch (op.type) {
    case ZYDIS_OPERAND_TYPE_IMMEDIATE:
      as_.mov(slot, static_cast<int32_t>(op.imm.value.s));
      break;
    case ZYDIS_OPERAND_TYPE_MEMORY:
      if (!Addressable(insn, op)) return false;
      EmitLoadScratch(EmitAddress(op), bytes);
      as_.mov(slot, host::SizedScratch(bytes));
      break;
    default: {
      unsigned id = ZydisRegisterGetId(op.reg.value);
      if (ZydisRegisterGetClass(op.reg.value) == ZYDIS_REGCLASS_SEGMENT) {
        // The selector is written as a word; what a 32-bit push leaves above it is model-specific, zero on most.
        as_.movzx(x86::r8d, x86::word_ptr(x86::r12, vcpu_offset::SegmentSelector(static_cast<Seg>(id))));
        as_.mov(slot, host::SizedScratch(bytes));
      } else {
        as_.mov(slot, host::Sized(id, bytes));
      }
    }
  }
  Mark(insn.NextEip(), static_cast<int8_t>(delta));
  as_.lea(x86::r15, x86::ptr(x86::r15, delta));
  return true;
}

bool Emitter::EmitPop(const GuestInstruction& insn) {
  const unsigned bytes = insn.info.operand_width / 8;
  const ZydisDecodedOperand& op = insn.operands[0];
  const x86::Mem slot = bytes == 2 ? x86::word_ptr(x86::r15) : x86::dword_ptr(x86::r15);
  if (op.type == ZYDIS_OPERAND_TYPE_MEMORY) {
    if (!Addressable(insn, op)) return false;
    // An ESP base means ESP after the pop (SDM 2B, POP).
    const bool from_esp = op.mem.base == ZYDIS_REGISTER_ESP;
    const bool flat = mode_.Shape(static_cast<Seg>(ZydisRegisterGetId(op.mem.segment))) == SegmentShape::kFlat;
    if (!flat) return false;  // the address would need the scratch register that holds the value
    as_.mov(host::SizedScratch(bytes), slot);
    EmitStoreScratch(EmitAddress(op, from_esp ? static_cast<int32_t>(bytes) : 0), bytes);
  } else {
    if (ZydisRegisterGetClass(op.reg.value) == ZYDIS_REGCLASS_SEGMENT) return EmitSegmentLoad(insn);
    unsigned id = ZydisRegisterGetId(op.reg.value);
    as_.mov(host::Sized(id, bytes), slot);
    if (id == kEsp) {
      if (bytes == 4) {
        Mark(insn.NextEip());
        EmitRebias(kEsp);
      }
      return true;
    }
    if (id == kEbp && bytes == 4) {
      Mark(insn.NextEip(), 4);
      EmitRebias(kEbp);
    }
  }
  Mark(insn.NextEip(), static_cast<int8_t>(bytes));
  as_.lea(x86::r15, x86::ptr(x86::r15, static_cast<int32_t>(bytes)));
  return true;
}

bool Emitter::EmitLeave(const GuestInstruction& insn) {
  if (insn.info.operand_width != 32) return false;
  as_.mov(x86::r8d, x86::dword_ptr(x86::rbp));
  as_.lea(x86::r15, x86::ptr(x86::rbp, 4));
  Mark(RecoveryEntry{.ebp_in_scratch = true, .eip = insn.NextEip()});
  as_.lea(x86::rbp, x86::ptr(x86::r8, x86::r14));
  return true;
}

}  // namespace ring3
