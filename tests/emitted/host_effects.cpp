#include "tests/emitted/host_effects.h"

#include "monitor/cpu/cpu_state.h"

namespace ring3 {
namespace {

constexpr uint64_t kMostLeaStep = 0x2'0000;  // RET n and prologues; far less than a guard

/// 64-bit LEA.
HostValue Sum(const ZydisDecodedOperandMem& mem, const HostState& before) {
  const auto at = [&](ZydisRegister reg) {
    const unsigned number = GeneralNumber(reg);
    return number == kNotGeneral ? HostValue{} : before.registers[number];
  };
  const HostValue base = at(mem.base), index = at(mem.index);
  if (base.holds == Holds::kNegatedSize && index.Is32Bits() && mem.scale == 1) return {Holds::kMargin};
  const int64_t step = mem.disp.has_displacement ? mem.disp.value : 0;
  if (base.holds == Holds::kNegatedPage && index.Is32Bits() && mem.scale == 1 && step >= 0) {
    SoftAccess access = SoftAccess::Unpack(base.constant);
    access.bytes = static_cast<unsigned>(step) + 1;
    return {Holds::kSoftMargin, access.Pack()};
  }
  if (base.holds == Holds::kToHost && index.holds == Holds::kSoftLinear && mem.scale == 1 && step == 0) {
    return {Holds::kSoftAddress, index.constant};
  }
  if (mem.index == ZYDIS_REGISTER_NONE) {
    const bool small = static_cast<uint64_t>(step < 0 ? -step : step) <= kMostLeaStep;
    return base.holds == Holds::kBiased && small ? base : HostValue{};
  }
  if (mem.scale != 1 || step != 0) return {};
  const auto are = [&](Holds left, auto right) {
    return (base.holds == left && right(index)) || (index.holds == left && right(base));
  };
  if (are(Holds::kWindow, [](const HostValue& v) { return v.Is32Bits(); })) return {Holds::kBiased};
  if (are(Holds::kSegment, [](const HostValue& v) { return v.Is32Bits(); })) return {Holds::kSegmentAddress};
  if (are(Holds::kCacheBase, [](const HostValue& v) { return v.holds == Holds::kSlot; })) return {Holds::kCode};
  return {};
}

HostValue Result32(const HostInstruction& insn, const ZydisDecodedOperand& op, const HostValue& old,
                   const HostState& before) {
  const HostValue guest{Holds::kGuest};
  switch (insn.info.mnemonic) {
    case ZYDIS_MNEMONIC_BSF:
    case ZYDIS_MNEMONIC_BSR:
    case ZYDIS_MNEMONIC_CMPXCHG:  // may leave all 64 bits as they were
      return op.visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT ? old.Join(guest) : guest;
    case ZYDIS_MNEMONIC_MOV:
      if (insn.operands[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
        return {Holds::kConstant, insn.operands[1].imm.value.u & UINT32_MAX};
      }
      if (insn.operands[1].type == ZYDIS_OPERAND_TYPE_MEMORY &&
          before.registers[GeneralNumber(insn.operands[1].mem.base) % 16].holds == Holds::kBranchTable) {
        return {Holds::kSlot};
      }
      return guest;
    case ZYDIS_MNEMONIC_MOVZX: {
      const bool byte = insn.operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER && insn.operands[1].size == 8;
      return byte ? HostValue{Holds::kByte} : guest;
    }
    case ZYDIS_MNEMONIC_PEXT: {
      const HostValue mask = Moved(insn.operands[2], before);
      return mask.holds == Holds::kConstant && mask.constant == eflags::kDf ? HostValue{Holds::kBit} : guest;
    }
    case ZYDIS_MNEMONIC_AND:
      if (insn.operands[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE &&
          !(insn.operands[1].imm.value.u & UINT32_MAX & ~eflags::kHostHeld)) {
        return {Holds::kFlagImage};
      }
      return guest;
    default:
      return guest;
  }
}

}  // namespace

HostValue Moved(const ZydisDecodedOperand& from, const HostState& before) {
  if (from.type == ZYDIS_OPERAND_TYPE_IMMEDIATE) return {Holds::kConstant, from.imm.value.u};
  const unsigned number = from.type == ZYDIS_OPERAND_TYPE_REGISTER ? GeneralNumber(from.reg.value) : kNotGeneral;
  return number == kNotGeneral ? HostValue{} : before.registers[number];
}

HostValue Result(const HostInstruction& insn, const ZydisDecodedOperand& op, const HostState& before) {
  const HostValue& old = before.registers[GeneralNumber(op.reg.value)];
  if (op.size < 32) return old.Is32Bits() ? HostValue{Holds::kGuest} : old;
  if (op.size == 32) return Result32(insn, op, old, before);
  switch (insn.info.mnemonic) {
    case ZYDIS_MNEMONIC_MOV:
      if (insn.operands[1].type == ZYDIS_OPERAND_TYPE_MEMORY) return Loaded(insn.operands[1], before);
      return Moved(insn.operands[1], before);
    case ZYDIS_MNEMONIC_RORX: {
      constexpr uint64_t kHalf = 32;
      const HostValue from = Moved(insn.operands[1], before);
      if (from.holds == Holds::kSoftMargin) {
        constexpr uint64_t kPageShift = 12;
        return insn.operands[2].imm.value.u == kPageShift ? HostValue{Holds::kSoftCheck, from.constant} : HostValue{};
      }
      const bool half = insn.operands[2].imm.value.u == kHalf;
      return half && from.holds == Holds::kMargin ? HostValue{Holds::kMarginHigh} : HostValue{};
    }
    case ZYDIS_MNEMONIC_MOVSXD:
      if (insn.operands[1].type != ZYDIS_OPERAND_TYPE_REGISTER) return {};
      return Moved(insn.operands[1], before).holds == Holds::kMarginHigh ? HostValue{Holds::kSide} : HostValue{};
    case ZYDIS_MNEMONIC_LEA:
      return Sum(insn.operands[1].mem, before);
    case ZYDIS_MNEMONIC_SHRX: {
      const HostValue& count = before.registers[GeneralNumber(insn.operands[2].reg.value)];
      return count.holds == Holds::kConstant && count.constant == 32 ? HostValue{Holds::kGuest} : HostValue{};
    }
    default:
      return {};
  }
}

}  // namespace ring3
