// Jumps, calls, returns and software interrupts.
#include "monitor/cpu/interrupts.h"
#include "monitor/interpreter/handlers.h"
#include "monitor/interpreter/operands.h"

namespace ring3 {
namespace {

/// Sets EIP to `target`, cut to the operand size. Throws #GP(0) beyond the CS limit.
void JumpNear(Step& s, uint32_t target) {
  if (!s.d.operand32) target &= 0xFFFF;
  if (target > s.state().Segment(Seg::kCs).limit) ThrowGp0();
  s.state().eip = target;
  s.eip_set = true;
}

void JumpRelative(Step& s) { JumpNear(s, s.next_eip + static_cast<uint32_t>(s.d.Op(0).imm.value.s)); }

/// From here on the callee replaces CS:EIP and keeps the state itself when it throws.
void HandOver(Step& s) {
  s.eip_set = true;
  s.roll_back = false;
}

/// The condition of Jcc, by the low four bits of its opcode (SDM 2, appendix B.1.4.7).
bool ConditionHolds(uint32_t flags, unsigned code) {
  const bool cf = flags & eflags::kCf, zf = flags & eflags::kZf, sf = flags & eflags::kSf, of = flags & eflags::kOf;
  bool holds = false;
  switch (code >> 1) {
    case 0:
      holds = of;
      break;
    case 1:
      holds = cf;
      break;
    case 2:
      holds = zf;
      break;
    case 3:
      holds = cf || zf;
      break;
    case 4:
      holds = sf;
      break;
    case 5:
      holds = flags & eflags::kPf;
      break;
    case 6:
      holds = sf != of;
      break;
    default:
      holds = zf || sf != of;
      break;
  }
  return holds != static_cast<bool>(code & 1);
}

struct FarPointer {
  uint16_t selector;
  uint32_t offset;
};

bool IsFar(const Step& s) { return s.d.insn.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR; }

FarPointer ReadFarPointer(Step& s) {
  const Operand& op = s.d.Op(0);
  if (op.type == ZYDIS_OPERAND_TYPE_POINTER) return {op.ptr.segment, op.ptr.offset};
  const GuestLinear linear =
      DataLinear(s, SegOf(op.mem.segment), EffectiveAddress(s, op), s.Bytes() + 2, AccessType::kRead, s.Bytes());
  const uint32_t offset = ReadMemory(s.cpu, linear, s.Bytes());
  return {static_cast<uint16_t>(ReadMemory(s.cpu, linear + s.Bytes(), 2)), offset};
}

void SoftwareInterruptTo(Step& s, uint8_t vector, SoftwareInterrupt kind) {
  HandOver(s);
  s.inhibit_trap = true;  // the gate clears TF before the trap would be taken
  RaiseSoftwareInterrupt(s.cpu, vector, kind, s.next_eip);
}

}  // namespace

void ExecuteJcc(Step& s) {
  if (ConditionHolds(s.state().eflags, s.d.insn.opcode & 0xF)) JumpRelative(s);
}

void ExecuteLoop(Step& s) {
  const unsigned bytes = s.d.address32 ? 4 : 2;
  const uint32_t count = (ReadLow(s.state(), kEcx, bytes) - 1) & s.AddressMask();
  const bool zf = s.state().eflags & eflags::kZf;
  bool taken = count != 0;
  if (s.d.insn.mnemonic == ZYDIS_MNEMONIC_LOOPE) taken = taken && zf;
  if (s.d.insn.mnemonic == ZYDIS_MNEMONIC_LOOPNE) taken = taken && !zf;
  if (taken) JumpRelative(s);
  WriteLow(s.state(), kEcx, bytes, count);
}

void ExecuteJcxz(Step& s) {
  if ((s.state().gpr[kEcx] & s.AddressMask()) == 0) JumpRelative(s);
}

void ExecuteJump(Step& s) {
  if (IsFar(s)) {
    const FarPointer target = ReadFarPointer(s);
    HandOver(s);
    FarJump(s.cpu, target.selector, target.offset, s.Size(), s.next_eip);
  } else if (s.d.Op(0).type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
    JumpRelative(s);
  } else {
    JumpNear(s, ReadOperand(s, s.d.Op(0)));
  }
}

void ExecuteCall(Step& s) {
  if (IsFar(s)) {
    const FarPointer target = ReadFarPointer(s);
    HandOver(s);
    FarCall(s.cpu, target.selector, target.offset, s.Size(), s.next_eip);
    return;
  }
  const bool relative = s.d.Op(0).type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
  if (relative) {
    JumpRelative(s);
  } else {
    JumpNear(s, ReadOperand(s, s.d.Op(0)));
  }
  Push(s.cpu, s.next_eip, s.Size());
}

void ExecuteReturn(Step& s) {
  const bool has_count = s.d.insn.raw.imm[0].size != 0;
  const auto release = has_count ? static_cast<uint16_t>(s.d.insn.raw.imm[0].value.u) : uint16_t{0};
  if (IsFar(s)) {
    HandOver(s);
    FarReturn(s.cpu, s.Size(), release);
    return;
  }
  JumpNear(s, Pop(s.cpu, s.Size()));
  uint32_t& esp = s.state().gpr[kEsp];
  esp = (esp & ~s.StackMask()) | ((esp + release) & s.StackMask());
}

void ExecuteInt(Step& s) {
  SoftwareInterruptTo(s, static_cast<uint8_t>(s.d.insn.raw.imm[0].value.u), SoftwareInterrupt::kIntN);
}
void ExecuteInt1(Step& s) { SoftwareInterruptTo(s, static_cast<uint8_t>(Vector::kDebug), SoftwareInterrupt::kInt1); }
void ExecuteInt3(Step& s) {
  SoftwareInterruptTo(s, static_cast<uint8_t>(Vector::kBreakpoint), SoftwareInterrupt::kInt3);
}
void ExecuteInto(Step& s) {
  if (!(s.state().eflags & eflags::kOf)) return;
  SoftwareInterruptTo(s, static_cast<uint8_t>(Vector::kOverflow), SoftwareInterrupt::kInto);
}

void ExecuteBound(Step& s) {
  const Operand& op = s.d.Op(1);
  const GuestLinear linear =
      DataLinear(s, SegOf(op.mem.segment), EffectiveAddress(s, op), 2 * s.Bytes(), AccessType::kRead, s.Bytes());
  const uint32_t lower = ReadMemory(s.cpu, linear, s.Bytes());
  const uint32_t upper = ReadMemory(s.cpu, linear + s.Bytes(), s.Bytes());
  const uint32_t index = ReadOperand(s, s.d.Op(0));
  const auto sign_extend = [&](uint32_t v) {
    return s.d.operand32 ? static_cast<int32_t>(v) : static_cast<int16_t>(static_cast<uint16_t>(v));
  };
  if (sign_extend(index) < sign_extend(lower) || sign_extend(index) > sign_extend(upper)) {
    ThrowFault(Vector::kBoundRange);
  }
}

void ExecuteIret(Step& s) {
  HandOver(s);
  InterruptReturn(s.cpu, s.Size());
}

void ExecuteSysenter(Step& s) {
  HandOver(s);
  SystemEnter(s.cpu);
}

void ExecuteSysexit(Step& s) {
  HandOver(s);
  SystemExit(s.cpu);
}

}  // namespace ring3
