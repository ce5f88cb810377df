// Instructions that the monitor executes in callouts (callouts.h). Each ends its block.
#include "translator/emitter.h"
#include "translator/host_registers.h"
#include "translator/vcpu.h"

namespace ring3 {

using namespace asmjit;

/// Which operands make up the callout's value, and which switch it is under, depends on the instruction.
bool Emitter::EmitCallout(const GuestInstruction& insn) {
  if (mode_.Paragraphs() || mode_.Code16()) return false;
  switch (insn.info.mnemonic) {
    case ZYDIS_MNEMONIC_INT:
      return EmitEvent(insn, Callout::kInterrupt, static_cast<uint16_t>(insn.operands[0].imm.value.u & 0xFF));
    case ZYDIS_MNEMONIC_IRETD:
      return EmitEvent(insn, Callout::kInterruptReturn, 0);
    case ZYDIS_MNEMONIC_SYSENTER:
      return EmitEvent(insn, Callout::kSystemEnter, 0);
    case ZYDIS_MNEMONIC_SYSEXIT:
      return EmitEvent(insn, Callout::kSystemExit, 0);
    case ZYDIS_MNEMONIC_CPUID:
      if (!fast_paths_.Has(FastPath::kCpuidCallout)) return false;
      EmitCallout(insn, Callout::kCpuid, 0);
      return true;
    case ZYDIS_MNEMONIC_CLTS:
      if (!fast_paths_.Has(FastPath::kControlCallouts)) return false;
      EmitCallout(insn, Callout::kClearTaskSwitched, 0);
      return true;
    case ZYDIS_MNEMONIC_IN:
      return EmitPortAccess(insn, Callout::kIn, insn.operands[1], insn.operands[0].size);
    case ZYDIS_MNEMONIC_OUT:
      return EmitPortAccess(insn, Callout::kOut, insn.operands[0], insn.operands[1].size);
    default:
      return EmitInvalidatePage(insn);
  }
}

/// The value is in r10d, or there is none.
void Emitter::EmitCallout(const GuestInstruction& insn, Callout callout, uint16_t operand) {
  emitted_class_ = InstructionClass::kCallout;
  as_.mov(x86::r9d, CalloutArguments{callout, insn.length, operand}.Pack());
  EmitLeave(insn.eip, stubs_.CalloutTo(callout));
  EndBlock();
}

void Emitter::EmitDemoted(const GuestInstruction& insn, std::optional<uint16_t> soft_site) {
  const RecoveryEntry here{.shadow = shadow_, .eip = insn.eip};
  Mark(here);
  Settle(here);
  if (soft_site) return EmitSoftAccess(insn, *soft_site);
  const InstructionClass cls = insn.row.cls;
  const bool plain = cls == InstructionClass::kIdentical || cls == InstructionClass::kString;
  emitted_class_ = InstructionClass::kInterpret;
  EmitStep(insn.eip, {.demoted = true, .plain = plain});
}

bool Emitter::EmitEvent(const GuestInstruction& insn, Callout callout, uint16_t operand) {
  if (!fast_paths_.Has(FastPath::kEventCallouts)) return false;
  EmitCallout(insn, callout, operand);
  return true;
}

bool Emitter::EmitPortAccess(const GuestInstruction& insn, Callout callout, const ZydisDecodedOperand& port,
                             unsigned bits) {
  if (!fast_paths_.Has(FastPath::kPortCallouts)) return false;
  if (port.type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
    as_.mov(x86::r10d, static_cast<uint32_t>(port.imm.value.u & 0xFF));
  } else {
    as_.mov(x86::r10d, x86::edx);
  }
  EmitCallout(insn, callout, static_cast<uint16_t>(bits / 8));
  return true;
}

bool Emitter::EmitInvalidatePage(const GuestInstruction& insn) {
  const ZydisDecodedOperand& memory = insn.operands[0];
  if (!fast_paths_.Has(FastPath::kControlCallouts) || !mode_.Ring0() || memory.type != ZYDIS_OPERAND_TYPE_MEMORY ||
      mode_.Shape(SegmentOf(memory)) != SegmentShape::kFlat) {
    return false;
  }
  EmitOffset(AddressOf(memory), insn.Is16BitAddress());
  as_.mov(x86::r10d, x86::r9d);
  EmitCallout(insn, Callout::kInvalidatePage, 0);
  return true;
}

/// MOV to and from CR0, CR2, CR3 and CR4.
bool Emitter::EmitControlMove(const GuestInstruction& insn) {
  const ZydisDecodedOperand &to = insn.operands[0], &from = insn.operands[1];
  if (insn.info.mnemonic != ZYDIS_MNEMONIC_MOV || !mode_.Ring0() || mode_.Paragraphs() || mode_.Code16()) return false;
  const auto is_control = [](const ZydisDecodedOperand& op) {
    return op.type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(op.reg.value) == ZYDIS_REGCLASS_CONTROL;
  };
  if (is_control(from)) {
    if (!fast_paths_.Has(FastPath::kInlineControlReads)) return false;
    return EmitReadControl(insn, ZydisRegisterGetId(from.reg.value), ZydisRegisterGetId(to.reg.value));
  }
  if (!is_control(to) || !fast_paths_.Has(FastPath::kControlCallouts)) return false;
  as_.mov(x86::r10d, host::Low32(ZydisRegisterGetId(from.reg.value)));
  EmitCallout(insn, Callout::kMoveToControl, static_cast<uint16_t>(ZydisRegisterGetId(to.reg.value)));
  return true;
}

bool Emitter::EmitReadControl(const GuestInstruction&, int control, int gpr) {
  constexpr int kFields[] = {vcpu_offset::kCr0, 0, vcpu_offset::kCr2, vcpu_offset::kCr3, vcpu_offset::kCr4};
  if (control < 0 || control >= static_cast<int>(std::size(kFields)) || !kFields[control]) return false;
  emitted_class_ = InstructionClass::kSegment;
  as_.mov(x86::r8d, x86::dword_ptr(x86::r12, kFields[control]));
  EmitSetRegister(static_cast<unsigned>(gpr), 4, x86::r8);
  return true;
}

}  // namespace ring3
