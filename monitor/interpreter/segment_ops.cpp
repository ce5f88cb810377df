// Segment registers, descriptor-table registers and the instructions that look at descriptors.
#include "monitor/cpu/privileged.h"
#include "monitor/interpreter/handlers.h"
#include "monitor/interpreter/operands.h"

namespace ring3 {
namespace {

constexpr unsigned kTableOperandBytes = 6;     // 16-bit limit, 32-bit base
constexpr uint32_t kBaseMask16 = 0x00FF'FFFF;  // LGDT/LIDT with 16-bit operands load 24 bits of base

/// LLDT, LTR, SLDT, STR, LAR, LSL, VERR, VERW, ARPL exist in protected mode only.
void RequireProtectedMode(const Step& s) {
  if (s.RealOrV86()) ThrowFault(Vector::kInvalidOpcode);
}

void SetZero(Step& s, bool zero) { s.state().eflags = (s.state().eflags & ~eflags::kZf) | (zero ? eflags::kZf : 0); }

Seg FarPointerSegment(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_LES:
      return Seg::kEs;
    case ZYDIS_MNEMONIC_LFS:
      return Seg::kFs;
    case ZYDIS_MNEMONIC_LGS:
      return Seg::kGs;
    case ZYDIS_MNEMONIC_LSS:
      return Seg::kSs;
    default:
      return Seg::kDs;
  }
}

GuestLinear TableOperand(Step& s, AccessType type) {
  const Operand& op = s.d.Op(0);
  constexpr unsigned kTableAlignment = 4;
  return DataLinear(s, SegOf(op.mem.segment), EffectiveAddress(s, op), kTableOperandBytes, type, kTableAlignment);
}

void StoreLookup(Step& s, std::optional<uint32_t> found) {
  if (found) WriteOperand(s, s.d.Op(0), *found);
  SetZero(s, found.has_value());
}

}  // namespace

void ExecuteMovFromSegment(Step& s) {
  WriteWordOperand(s, s.d.Op(0), s.state().Segment(SegOf(s.d.Op(1).reg.value)).selector);
}

void ExecuteMovToSegment(Step& s) {
  const Seg seg = SegOf(s.d.Op(0).reg.value);
  if (seg == Seg::kCs) ThrowFault(Vector::kInvalidOpcode);
  LoadSegment(s.cpu, seg, ReadWordOperand(s, s.d.Op(1)));
  if (seg == Seg::kSs) s.ShadowNext();
}

void ExecuteLoadFarPointer(Step& s) {
  const Operand& op = s.d.Op(s.d.memory_operand);
  const GuestLinear linear =
      DataLinear(s, SegOf(op.mem.segment), EffectiveAddress(s, op), s.Bytes() + 2, AccessType::kRead, s.Bytes());
  const uint32_t offset = ReadMemory(s.cpu, linear, s.Bytes());
  const auto selector = static_cast<uint16_t>(ReadMemory(s.cpu, linear + s.Bytes(), 2));
  LoadSegment(s.cpu, FarPointerSegment(s.d.insn.mnemonic), selector);
  WriteLow(s.state(), static_cast<Gpr>(s.d.insn.raw.modrm.reg), s.Bytes(), offset);
}

void ExecuteStoreTable(Step& s) {
  const TableRegister& table = s.d.insn.mnemonic == ZYDIS_MNEMONIC_SGDT ? s.state().gdtr : s.state().idtr;
  const GuestLinear linear = TableOperand(s, AccessType::kWrite);
  s.cpu.memory.CheckWritable(linear, kTableOperandBytes, s.cpu.User());
  WriteMemory(s.cpu, linear, 2, table.limit);
  WriteMemory(s.cpu, linear + 2, 4, table.base);
}

void ExecuteLoadTable(Step& s) {
  RequireRing0(s.cpu);
  const GuestLinear linear = TableOperand(s, AccessType::kRead);
  TableRegister table;
  table.limit = static_cast<uint16_t>(ReadMemory(s.cpu, linear, 2));
  table.base = ReadMemory(s.cpu, linear + 2, 4);
  if (!s.d.operand32) table.base &= kBaseMask16;
  (s.d.insn.mnemonic == ZYDIS_MNEMONIC_LGDT ? s.state().gdtr : s.state().idtr) = table;
}

void ExecuteSldt(Step& s) {
  RequireProtectedMode(s);
  WriteWordOperand(s, s.d.Op(0), s.state().ldtr.selector);
}
void ExecuteStr(Step& s) {
  RequireProtectedMode(s);
  WriteWordOperand(s, s.d.Op(0), s.state().tr.selector);
}
void ExecuteLldt(Step& s) {
  RequireProtectedMode(s);
  RequireRing0(s.cpu);
  LoadLdt(s.cpu, ReadWordOperand(s, s.d.Op(0)));
}
void ExecuteLtr(Step& s) {
  RequireProtectedMode(s);
  RequireRing0(s.cpu);
  LoadTaskRegister(s.cpu, ReadWordOperand(s, s.d.Op(0)));
}

void ExecuteSmsw(Step& s) { WriteWordOperand(s, s.d.Op(0), s.state().cr0); }
void ExecuteLmsw(Step& s) {
  RequireRing0(s.cpu);
  LoadMachineStatusWord(s.cpu, ReadWordOperand(s, s.d.Op(0)));
}

void ExecuteLar(Step& s) {
  RequireProtectedMode(s);
  StoreLookup(s, LoadAccessRights(s.cpu, ReadWordOperand(s, s.d.Op(1))));
}
void ExecuteLsl(Step& s) {
  RequireProtectedMode(s);
  StoreLookup(s, LoadSegmentLimit(s.cpu, ReadWordOperand(s, s.d.Op(1))));
}
void ExecuteVerr(Step& s) {
  RequireProtectedMode(s);
  SetZero(s, VerifyRead(s.cpu, ReadWordOperand(s, s.d.Op(0))));
}
void ExecuteVerw(Step& s) {
  RequireProtectedMode(s);
  SetZero(s, VerifyWrite(s.cpu, ReadWordOperand(s, s.d.Op(0))));
}

void ExecuteArpl(Step& s) {
  constexpr uint32_t kRpl = 3;
  RequireProtectedMode(s);
  const Operand& destination = s.d.Op(0);
  const uint32_t selector =
      ReadOperand(s, destination);  // a plain read: processors fault for writing only when they do
  const uint32_t wanted = ReadOperand(s, s.d.Op(1)) & kRpl;
  const bool raise = (selector & kRpl) < wanted;
  if (raise) WriteOperand(s, destination, (selector & ~kRpl) | wanted);
  SetZero(s, raise);
}

}  // namespace ring3
