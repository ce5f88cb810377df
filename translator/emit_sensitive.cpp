// Sensitive instructions with an inline form: reads of segment registers, and the virtual interrupt flag.
#include "translator/emitter.h"
#include "translator/host_registers.h"
#include "translator/vcpu.h"

namespace ring3 {

using namespace asmjit;

bool Emitter::EmitSegmentMove(const GuestInstruction& insn) {
  const ZydisDecodedOperand &to = insn.operands[0], &from = insn.operands[1];
  if (EmitSegmentLoad(insn)) return true;
  if (insn.info.mnemonic != ZYDIS_MNEMONIC_MOV || from.type != ZYDIS_OPERAND_TYPE_REGISTER ||
      ZydisRegisterGetClass(from.reg.value) != ZYDIS_REGCLASS_SEGMENT || to.type != ZYDIS_OPERAND_TYPE_REGISTER) {
    return false;
  }
  emitted_class_ = InstructionClass::kSegment;
  const x86::Mem selector =
      x86::word_ptr(x86::r12, vcpu_offset::SegmentSelector(static_cast<Seg>(ZydisRegisterGetId(from.reg.value))));
  unsigned id = ZydisRegisterGetId(to.reg.value);
  if (insn.info.operand_width == 16) {
    as_.movzx(x86::r8d, selector);
    as_.mov(host::Low16(id), x86::r8w);
    return true;
  }
  as_.movzx(host::Low32(id), selector);
  if (id == kEsp || id == kEbp) {
    Mark(insn.NextEip());
    EmitRebias(id);
  }
  return true;
}

/// MOV to, or POP of, a data segment register. Kernels mostly load what is loaded already; that is seen inline, and the
/// monitor does the rest.
bool Emitter::EmitSegmentLoad(const GuestInstruction& insn) {
  const ZydisDecodedOperand& to = insn.operands[0];
  if (!mode_.Ring0() || to.type != ZYDIS_OPERAND_TYPE_REGISTER ||
      ZydisRegisterGetClass(to.reg.value) != ZYDIS_REGCLASS_SEGMENT) {
    return false;
  }
  const Seg segment = static_cast<Seg>(ZydisRegisterGetId(to.reg.value));
  if (segment == Seg::kCs || segment == Seg::kSs) return false;
  const bool pop = insn.info.mnemonic == ZYDIS_MNEMONIC_POP;
  if (pop) {
    if (!FlatStack() || insn.info.operand_width != 32) return false;
    as_.mov(x86::r8d, x86::dword_ptr(x86::r15));
    as_.movzx(x86::r8d, x86::r8w);
  } else {
    const ZydisDecodedOperand& from = insn.operands[1];
    if (from.type != ZYDIS_OPERAND_TYPE_REGISTER) return false;
    as_.movzx(x86::r8d, host::Low16(ZydisRegisterGetId(from.reg.value)));
  }
  emitted_class_ = InstructionClass::kSegment;
  EmitUnlessUnchanged(insn, segment);
  if (pop) as_.lea(x86::r15, x86::ptr(x86::r15, 4));
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
  EmitLeave(insn.eip, stubs_.LeaveToInterpret());
  as_.bind(same_selector);
  MarkBusy(insn.eip);
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

bool Emitter::EmitTimeStamp(const GuestInstruction& insn) {
  if (!mode_.TscAllowed()) return false;
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
  if (!mode_.Ring0()) return false;
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
  if (!FlatStack() || insn.info.operand_width != 32) return false;
  // The host's image shows IF set and no other system flag; ours are added without touching a flag.
  as_.pushfq();
  as_.pop(x86::r8);
  as_.mov(x86::r9d, x86::dword_ptr(x86::r12, vcpu_offset::kEflags));
  as_.lea(x86::r8d, x86::ptr(x86::r8, x86::r9, 0, -static_cast<int32_t>(eflags::kIf)));
  as_.mov(x86::r9d, x86::dword_ptr(x86::r12, vcpu_offset::kInterruptFlag));
  as_.lea(x86::r8d, x86::ptr(x86::r8, x86::r9));
  as_.mov(x86::dword_ptr(x86::r15, -4), x86::r8d);
  Mark(insn.NextEip(), -4);
  as_.lea(x86::r15, x86::ptr(x86::r15, -4));
  return true;
}

bool Emitter::EmitPopFlags(const GuestInstruction& insn) {
  if (!FlatStack() || insn.info.operand_width != 32) return false;
  // Inline when only IF and the arithmetic flags change and no interrupt waits for IF; else the monitor does it.
  constexpr uint32_t kSystem = eflags::kTf | eflags::kIopl | eflags::kNt | eflags::kAc | eflags::kId;
  Label slow = as_.newLabel(), done = as_.newLabel();
  as_.mov(x86::r8d, x86::dword_ptr(x86::r15));
  as_.pushfq();
  as_.pop(x86::r10);
  MarkBusy(insn.eip);
  as_.mov(x86::r9d, x86::r8d);
  as_.xor_(x86::r9d, x86::dword_ptr(x86::r12, vcpu_offset::kEflags));
  as_.test(x86::r9d, kSystem);
  as_.jnz(slow);
  as_.mov(x86::r9d, x86::r8d);
  as_.and_(x86::r9d, eflags::kIf);
  as_.test(x86::dword_ptr(x86::r12, vcpu_offset::kInterruptsWaiting), x86::r9d);
  as_.jnz(slow);
  as_.and_(x86::r8d, eflags::kHostHeld);
  as_.push(x86::r8);
  as_.mov(x86::dword_ptr(x86::r12, vcpu_offset::kInterruptFlag), x86::r9d);
  as_.lea(x86::r15, x86::ptr(x86::r15, 4));
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
