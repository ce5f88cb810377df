// Sensitive instructions with an inline form: reads of segment registers, and the virtual interrupt flag.
#include "translator/emitter.h"
#include "translator/host_registers.h"
#include "translator/vcpu.h"

namespace ring3 {

using namespace asmjit;

bool Emitter::EmitSegmentMove(const GuestInstruction& insn) {
  const ZydisDecodedOperand &to = insn.operands[0], &from = insn.operands[1];
  if (EmitSegmentLoad(insn) || EmitControlMove(insn)) return true;
  if (insn.info.mnemonic != ZYDIS_MNEMONIC_MOV || from.type != ZYDIS_OPERAND_TYPE_REGISTER ||
      ZydisRegisterGetClass(from.reg.value) != ZYDIS_REGCLASS_SEGMENT) {
    return false;
  }
  const bool to_memory = to.type == ZYDIS_OPERAND_TYPE_MEMORY;
  if (to_memory && !Addressable(insn, to)) return false;
  emitted_class_ = InstructionClass::kSegment;
  as_.movzx(
      x86::r8d,
      x86::word_ptr(x86::r12, vcpu_offset::SegmentSelector(static_cast<Seg>(ZydisRegisterGetId(from.reg.value)))));
  if (to_memory) {
    EmitStoreScratch(EmitAddress(insn, to), 2);
    return true;
  }
  EmitSetRegister(ZydisRegisterGetId(to.reg.value), insn.info.operand_width / 8, x86::r8);
  return true;
}

/// MOV to, or POP of, a data segment register. Kernels mostly load what is loaded already; that is seen inline, and the
/// monitor does the rest.
bool Emitter::EmitSegmentLoad(const GuestInstruction& insn) {
  const ZydisDecodedOperand& to = insn.operands[0];
  if (to.type != ZYDIS_OPERAND_TYPE_REGISTER || ZydisRegisterGetClass(to.reg.value) != ZYDIS_REGCLASS_SEGMENT) {
    return false;
  }
  const bool may_inline = fast_paths_.Has(FastPath::kInlineSegmentLoads);
  if (!may_inline && (!fast_paths_.Has(FastPath::kSegmentCallouts) || mode_.Paragraphs())) return false;
  const Seg segment = static_cast<Seg>(ZydisRegisterGetId(to.reg.value));
  if (mode_.Paragraphs()) return EmitParagraphLoad(insn, segment);
  if (!mode_.Ring0() || segment == Seg::kCs || segment == Seg::kSs) return false;
  const bool pop = insn.info.mnemonic == ZYDIS_MNEMONIC_POP;
  if (pop) {
    if (!FlatStack() || insn.info.operand_width != 32) return false;
    as_.mov(x86::r8d, x86::dword_ptr(x86::r15));
    as_.movzx(x86::r8d, x86::r8w);
  } else {
    // The rest would be too long for the short jumps around it.
    const ZydisDecodedOperand& from = insn.operands[1];
    const bool memory = from.type == ZYDIS_OPERAND_TYPE_MEMORY;
    if (memory && (insn.Is16BitAddress() || mode_.Shape(SegmentOf(from)) != SegmentShape::kFlat)) return false;
    if (!EmitLoadSelector(insn)) return false;
  }
  emitted_class_ = InstructionClass::kSegment;
  if (!may_inline) {
    EmitOtherSegment(insn, segment);
    EndBlock();
    return true;
  }
  EmitUnlessUnchanged(insn, segment);
  if (pop) as_.lea(x86::r15, x86::ptr(x86::r15, 4));
  return true;
}

/// r8d := the selector that MOV loads, from a register or memory.
bool Emitter::EmitLoadSelector(const GuestInstruction& insn) {
  const ZydisDecodedOperand& from = insn.operands[1];
  if (from.type == ZYDIS_OPERAND_TYPE_REGISTER) {
    as_.movzx(x86::r8d, host::Low16(ZydisRegisterGetId(from.reg.value)));
    return true;
  }
  if (!Addressable(insn, from)) return false;
  EmitLoadScratch(EmitAddress(insn, from), 2);
  return true;
}

/// Real and V86 mode: MOV to, or POP of, a segment register other than CS. Base and selector are all that changes, and
/// with a limit that is checked inline the block mode stays what it is.
bool Emitter::EmitParagraphLoad(const GuestInstruction& insn, Seg segment) {
  if (segment == Seg::kCs || mode_.Shape(segment) != SegmentShape::kLimited) return false;
  const bool pop = insn.info.mnemonic == ZYDIS_MNEMONIC_POP;
  const unsigned bytes = insn.info.operand_width / 8;
  if (pop) {
    if (!Accessible(Seg::kSs, false)) return false;
    EmitLoadScratch(EmitStackSlot(0, bytes), bytes);
    as_.movzx(x86::r8d, x86::r8w);
  } else if (!EmitLoadSelector(insn)) {
    return false;
  }
  emitted_class_ = InstructionClass::kSegment;
  MarkBusy(insn.eip);
  if (pop) EmitStackMove(static_cast<int32_t>(bytes));
  EmitCommitParagraph(segment);
  shadow_ = segment == Seg::kSs;
  return true;
}

/// Selector r8d, zero-extended, becomes the base; r9 is used up.
void Emitter::EmitCommitParagraph(Seg segment) {
  as_.mov(x86::word_ptr(x86::r12, vcpu_offset::SegmentSelector(segment)), x86::r8w);
  as_.lea(x86::r9d, x86::ptr(0, x86::r8, 3));
  as_.lea(x86::r9d, x86::ptr(x86::r9, x86::r9));
  as_.mov(x86::dword_ptr(x86::r12, vcpu_offset::SegmentBase(segment)), x86::r9d);
  as_.lea(x86::r9, x86::ptr(x86::r9, x86::r14));
  as_.mov(x86::qword_ptr(x86::r12, vcpu_offset::Access(segment, offsetof(SegmentAccess, inside))), x86::r9);
}

/// LES, LDS, LSS, LFS, LGS in real and V86 mode.
bool Emitter::EmitLoadFarPointer(const GuestInstruction& insn) {
  if (!fast_paths_.Has(FastPath::kInlineSegmentLoads)) return false;
  const ZydisDecodedOperand& memory = insn.operands[1];
  Seg segment = Seg::kDs;
  switch (insn.info.mnemonic) {
    case ZYDIS_MNEMONIC_LES:
      segment = Seg::kEs;
      break;
    case ZYDIS_MNEMONIC_LFS:
      segment = Seg::kFs;
      break;
    case ZYDIS_MNEMONIC_LGS:
      segment = Seg::kGs;
      break;
    case ZYDIS_MNEMONIC_LSS:
      segment = Seg::kSs;
      break;
    default:
      break;
  }
  if (!mode_.Paragraphs() || mode_.Shape(segment) != SegmentShape::kLimited || !Addressable(insn, memory)) return false;
  const unsigned bytes = insn.info.operand_width / 8;
  EmitOffset(AddressOf(memory), insn.Is16BitAddress());
  HostOperand pointer = EmitSegmented(SegmentOf(memory), bytes + 2);
  HostOperand selector = pointer;
  selector.mod = 1;
  selector.displacement_bytes = 1;
  selector.displacement = static_cast<int32_t>(bytes);
  // In the order of the manual's pseudo-code: where both fault, it is the offset's address that CR2 shows.
  EmitLoadScratch(pointer, bytes);
  const uint8_t movzx[] = {0x0F, 0xB7};
  constexpr uint8_t kR9 = 9;
  EmitMemoryOp(movzx, kR9, selector);
  MarkBusy(insn.eip);
  EmitSetRegister(ZydisRegisterGetId(insn.operands[0].reg.value), bytes, x86::r8);
  as_.mov(x86::r8d, x86::r9d);
  EmitCommitParagraph(segment);
  return true;
}

/// Leaves to the monitor unless the selector in r8d is the one loaded and its descriptor the one it was loaded from.
void Emitter::EmitUnlessUnchanged(const GuestInstruction& insn, Seg segment) {
  const auto check = [&](size_t field) { return vcpu_offset::Check(segment, field); };
  Label same_selector = as_.newLabel(), unchanged = as_.newLabel(), leave = as_.newLabel();
  as_.mov(x86::r9d, x86::dword_ptr(x86::r12, check(offsetof(SegmentCheck, negated_selector))));
  as_.lea(x86::r8d, x86::ptr(x86::r8, x86::r9));
  as_.mov(x86::r10d, x86::ecx);
  MarkBusy(insn.eip);
  as_.mov(x86::ecx, x86::r8d);
  as_.jecxz(x86::rcx, same_selector);
  as_.bind(leave);
  as_.mov(x86::ecx, x86::r10d);
  Mark(insn.eip);
  EmitOtherSegment(insn, segment);
  MarkBusy(insn.eip);
  as_.bind(same_selector);
  as_.mov(x86::ecx, x86::r10d);
  Mark(insn.eip);
  // Only a descriptor that is known may be read: any other address could fault, or count as accessed.
  as_.mov(x86::r9d, x86::dword_ptr(x86::r12, check(offsetof(SegmentCheck, descriptor_address))));
  as_.mov(x86::r9, x86::qword_ptr(x86::r14, x86::r9));
  as_.mov(x86::r8, x86::qword_ptr(x86::r12, check(offsetof(SegmentCheck, negated_descriptor))));
  MarkBusy(insn.eip);
  as_.lea(x86::rcx, x86::ptr(x86::r8, x86::r9));
  as_.jecxz(x86::rcx, unchanged);
  as_.short_().jmp(leave);
  as_.bind(unchanged);
  as_.mov(x86::ecx, x86::r10d);
  Mark(insn.eip);
}

/// The monitor loads the segment register.
void Emitter::EmitOtherSegment(const GuestInstruction& insn, Seg segment) {
  if (!fast_paths_.Has(FastPath::kSegmentCallouts) || mode_.Code16()) {
    return EmitLeave(insn.eip, stubs_.LeaveToInterpret());
  }
  const bool pop = insn.info.mnemonic == ZYDIS_MNEMONIC_POP;
  if (pop) {
    as_.mov(x86::r10d, x86::dword_ptr(x86::r15));
  } else {
    EmitLoadSelector(insn);
    as_.mov(x86::r10d, x86::r8d);
  }
  const LoadSegmentOperand operand{static_cast<uint8_t>(segment), static_cast<uint8_t>(pop ? 4 : 0)};
  as_.mov(x86::r9d, CalloutArguments{Callout::kLoadSegment, insn.length, operand.Pack()}.Pack());
  EmitLeave(insn.eip, stubs_.CalloutTo(Callout::kLoadSegment));
}

bool Emitter::EmitTimeStamp(const GuestInstruction& insn) {
  if (!mode_.TscAllowed() || !fast_paths_.Has(FastPath::kInlineTimeStamp)) return false;
  // EDX:EAX is put together, offset and taken apart again without touching a flag.
  as_.mov(x86::r8, x86::qword_ptr(x86::r12, vcpu_offset::kTscOffset));
  as_.mov(x86::r9d, 32);
  MarkBusy(insn.eip);
  as_.rdtsc();
  as_.shlx(x86::rdx, x86::rdx, x86::r9);
  as_.lea(x86::rax, x86::ptr(x86::rax, x86::rdx));
  as_.lea(x86::rax, x86::ptr(x86::rax, x86::r8));
  as_.shrx(x86::rdx, x86::rax, x86::r9);
  as_.mov(x86::eax, x86::eax);
  return true;
}

bool Emitter::EmitFlags(const GuestInstruction& insn) {
  if (!mode_.Ring0() || !fast_paths_.Has(FastPath::kInlineFlags)) return false;
  switch (insn.info.mnemonic) {
    case ZYDIS_MNEMONIC_CLI:
      as_.mov(x86::dword_ptr(x86::r12, vcpu_offset::kInterruptFlag), 0);
      return true;
    case ZYDIS_MNEMONIC_STI:
      return EmitSetInterruptFlag(insn);
    case ZYDIS_MNEMONIC_PUSHF:
    case ZYDIS_MNEMONIC_PUSHFD:
      return EmitPushFlags(insn);
    default:
      return EmitPopFlags(insn);
  }
}

bool Emitter::EmitPushFlags(const GuestInstruction& insn) {
  if (!Accessible(Seg::kSs, true)) return false;
  const unsigned bytes = insn.info.operand_width / 8;
  const int32_t delta = -static_cast<int32_t>(bytes);
  // The host's image shows IF set and no other system flag; ours are added without touching a flag.
  as_.pushfq();
  as_.pop(x86::r8);
  as_.mov(x86::r9d, x86::dword_ptr(x86::r12, vcpu_offset::kEflags));
  as_.lea(x86::r8d, x86::ptr(x86::r8, x86::r9, 0, -static_cast<int32_t>(eflags::kIf)));
  as_.mov(x86::r9d, x86::dword_ptr(x86::r12, vcpu_offset::kInterruptFlag));
  as_.lea(x86::r8d, x86::ptr(x86::r8, x86::r9));
  EmitStoreScratch(EmitStackSlot(delta, bytes), bytes);
  MoveStack(insn, delta);
  return true;
}

bool Emitter::EmitPopFlags(const GuestInstruction& insn) {
  if (!Accessible(Seg::kSs, false)) return false;
  const unsigned bytes = insn.info.operand_width / 8;
  // Inline when only IF and the arithmetic flags change and no interrupt waits for IF; else the monitor does it.
  constexpr uint32_t kSystem16 = eflags::kTf | eflags::kIopl | eflags::kNt;
  const uint32_t system = bytes == 2 ? kSystem16 : kSystem16 | eflags::kAc | eflags::kId;
  Label slow = as_.newLabel(), done = as_.newLabel();
  EmitLoadScratch(EmitStackSlot(0, bytes), bytes);
  as_.pushfq();
  as_.pop(x86::r10);
  MarkBusy(insn.eip);
  as_.mov(x86::r9d, x86::r8d);
  as_.xor_(x86::r9d, x86::dword_ptr(x86::r12, vcpu_offset::kEflags));
  as_.test(x86::r9d, system);
  as_.jnz(slow);
  as_.mov(x86::r9d, x86::r8d);
  as_.and_(x86::r9d, eflags::kIf);
  as_.test(x86::dword_ptr(x86::r12, vcpu_offset::kInterruptsWaiting), x86::r9d);
  as_.jnz(slow);
  as_.and_(x86::r8d, eflags::kHostHeld);
  as_.push(x86::r8);
  as_.mov(x86::dword_ptr(x86::r12, vcpu_offset::kInterruptFlag), x86::r9d);
  EmitStackMove(static_cast<int32_t>(bytes));
  as_.popfq();
  as_.jmp(done);
  as_.bind(slow);
  as_.push(x86::r10);
  as_.popfq();
  Mark(insn.eip);
  EmitLeave(insn.eip, stubs_.LeaveToInterpret());
  as_.bind(done);
  return true;
}

bool Emitter::EmitSetInterruptFlag(const GuestInstruction& insn) {
  // The test must leave the flags alone, hence JRCXZ over a borrowed RCX.
  Label none_waits = as_.newLabel();
  as_.mov(x86::r8d, x86::ecx);
  MarkBusy(insn.eip);
  as_.mov(x86::ecx, x86::dword_ptr(x86::r12, vcpu_offset::kInterruptsWaiting));
  as_.jecxz(x86::rcx, none_waits);
  as_.mov(x86::ecx, x86::r8d);
  Mark(insn.eip);
  EmitLeave(insn.eip, stubs_.LeaveToInterpret());
  as_.bind(none_waits);
  MarkBusy(insn.eip);
  as_.mov(x86::ecx, x86::r8d);
  Mark(insn.eip);
  as_.mov(x86::dword_ptr(x86::r12, vcpu_offset::kInterruptFlag), eflags::kIf);
  shadow_ = true;
  return true;
}

}  // namespace ring3
