// The stack pointer's moves, fused: a push stores below r15 and leaves it alone; the LEA that moves it comes once,
// where something needs the register itself. Until then ESP is r15d + pending_, which the recovery map says of each
// place.
#include <cstdint>
#include <optional>

#include "translator/emitter.h"
#include "translator/host_registers.h"

namespace ring3 {

using namespace asmjit;

namespace {

bool IsRegister(const ZydisDecodedOperand& op, ZydisRegister reg) {
  return op.type == ZYDIS_OPERAND_TYPE_REGISTER && op.reg.value == reg;
}

bool NamesStackPointer(const GuestInstruction& insn) {
  for (unsigned i = 0; i < insn.info.operand_count; ++i) {
    if (IsRegister(insn.operands[i], ZYDIS_REGISTER_ESP) || IsRegister(insn.operands[i], ZYDIS_REGISTER_SP))
      return true;
  }
  return false;
}

bool IsFrameMove(const GuestInstruction& insn) {
  return insn.info.mnemonic == ZYDIS_MNEMONIC_MOV && IsRegister(insn.operands[0], ZYDIS_REGISTER_EBP) &&
         IsRegister(insn.operands[1], ZYDIS_REGISTER_ESP);
}

/// By how much an instruction that adds a constant to ESP moves it.
std::optional<int64_t> ConstantMove(const GuestInstruction& insn) {
  if (insn.info.operand_width != 32 || !IsRegister(insn.operands[0], ZYDIS_REGISTER_ESP)) return std::nullopt;
  const ZydisDecodedOperand& from = insn.operands[1];
  const bool lea = insn.info.mnemonic == ZYDIS_MNEMONIC_LEA;
  if (lea && from.mem.base == ZYDIS_REGISTER_ESP && from.mem.index == ZYDIS_REGISTER_NONE)
    return AddressOf(from).displacement;
  if (from.type != ZYDIS_OPERAND_TYPE_IMMEDIATE) return std::nullopt;
  if (insn.info.mnemonic == ZYDIS_MNEMONIC_ADD) return from.imm.value.s;
  if (insn.info.mnemonic == ZYDIS_MNEMONIC_SUB) return -from.imm.value.s;
  return std::nullopt;
}

/// The recovery map can express this, and one more push or pop, behind which what pends is settled.
bool CanPend(int64_t bytes) {
  constexpr int64_t kMost = 0x4000;
  return -kMost <= bytes && bytes <= kMost;
}

}  // namespace

bool Emitter::KnowsPending(const GuestInstruction& insn) const {
  if (pending_ == 0) return true;
  switch (insn.row.cls) {
    case InstructionClass::kIdentical:
      // A comparison is fused with the branch behind it by the processor: nothing may come between.
      if (insn.info.mnemonic == ZYDIS_MNEMONIC_CMP || insn.info.mnemonic == ZYDIS_MNEMONIC_TEST) return false;
      return !NamesStackPointer(insn) || IsFrameMove(insn) || PendingAfter(insn);
    case InstructionClass::kStack: {
      const ZydisDecodedOperand& op = insn.operands[0];
      return !insn.StacksSegment() && !IsRegister(op, ZYDIS_REGISTER_ESP) && !IsRegister(op, ZYDIS_REGISTER_SP);
    }
    case InstructionClass::kCall:
    case InstructionClass::kReturn:
      return true;
    default:
      return false;
  }
}

void Emitter::MoveStack(const GuestInstruction& insn, int32_t delta) {
  if (!mode_.Stack32()) {
    MarkBusy(insn.eip);  // SP alone moves, which no delta expresses
    return EmitStackMove(delta);
  }
  const bool pends = fast_paths_.Has(FastPath::kFusedStack) && CanPend(pending_ + delta);
  pending_ += delta;
  Mark(insn.NextEip());
  if (!pends) SettleStack({.eip = insn.NextEip()});
}

void Emitter::SettleStack(const RecoveryEntry& here) {
  if (pending_ == 0) return;
  as_.lea(x86::r15, x86::ptr(x86::r15, pending_));
  pending_ = 0;
  Mark(here);
}

std::optional<int32_t> Emitter::PendingAfter(const GuestInstruction& insn) const {
  const auto move = ConstantMove(insn);
  if (!move || !mode_.Stack32() || !fast_paths_.Has(FastPath::kFusedStack) || !CanPend(pending_ + *move)) {
    return std::nullopt;
  }
  return static_cast<int32_t>(pending_ + *move);
}

bool Emitter::EmitStackAdjust(const GuestInstruction& insn) {
  const auto pending = PendingAfter(insn);
  if (!pending) return false;
  if (insn.info.mnemonic != ZYDIS_MNEMONIC_LEA) {  // for the flags
    if (pending_ == 0) {
      as_.mov(x86::r8d, x86::r15d);
    } else {
      as_.lea(x86::r8d, x86::ptr(x86::r15, pending_));
    }
    const auto constant = static_cast<int32_t>(insn.operands[1].imm.value.s);
    if (insn.info.mnemonic == ZYDIS_MNEMONIC_ADD) {
      as_.add(x86::r8d, constant);
    } else {
      as_.sub(x86::r8d, constant);
    }
  }
  pending_ = *pending;
  Mark(insn.NextEip());
  return true;
}

void Emitter::EmitStackMove(int32_t delta) {
  if (mode_.Stack32()) {
    as_.lea(x86::r15, x86::ptr(x86::r15, pending_ + delta));
    pending_ = 0;
  } else {
    as_.lea(x86::r9d, x86::ptr(x86::r15, delta));
    as_.mov(x86::r15w, x86::r9w);
  }
}

}  // namespace ring3
