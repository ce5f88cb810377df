// Moves simple enough, or peculiar enough, to be done without the host's help.
#include <cstring>

#include "monitor/interpreter/fpu_state.h"
#include "monitor/interpreter/handlers.h"
#include "monitor/interpreter/operands.h"

namespace ring3 {

void ExecuteMov(Step& s) { WriteOperand(s, s.d.Op(0), ReadOperand(s, s.d.Op(1))); }

void ExecuteLea(Step& s) {
  if (s.d.Op(1).type != ZYDIS_OPERAND_TYPE_MEMORY) ThrowFault(Vector::kInvalidOpcode);
  WriteOperand(s, s.d.Op(0), EffectiveAddress(s, s.d.Op(1)));
}

void ExecuteXlat(Step& s) {
  const Operand& table = s.d.Op(s.d.memory_operand);
  const uint32_t offset = (s.state().gpr[kEbx] + ReadLow(s.state(), kEax, 1)) & s.AddressMask();
  const GuestLinear linear = DataLinear(s, SegOf(table.mem.segment), offset, 1, AccessType::kRead);
  WriteLow(s.state(), kEax, 1, ReadMemory(s.cpu, linear, 1));
}

/// NOP, hints and fences: a memory operand is not accessed.
void ExecuteNothing(Step&) {}

/// MASKMOVQ, MASKMOVDQU and VMASKMOVDQU: bytes of the first register whose mask byte has its top bit set go to
/// DS:(E)DI.
void ExecuteMaskedStore(Step& s) {
  const bool wide = s.d.insn.mnemonic != ZYDIS_MNEMONIC_MASKMOVQ;
  const unsigned bytes = wide ? kXmmBytes : kMmxBytes;
  const unsigned data = s.d.insn.raw.modrm.reg, mask = s.d.insn.raw.modrm.rm;
  const uint8_t* data_bytes = wide ? XmmRegister(s.state(), data) : MmxRegister(s.state(), data);
  const uint8_t* mask_bytes = wide ? XmmRegister(s.state(), mask) : MmxRegister(s.state(), mask);
  const Operand& op = s.d.Op(s.d.memory_operand);
  const uint32_t offset = s.state().gpr[kEdi] & s.AddressMask();
  const GuestLinear linear = CheckedLinear(s.cpu, SegOf(op.mem.segment), offset, bytes, AccessType::kWrite);
  const auto selected = [&](unsigned i) { return mask_bytes[i] & 0x80; };
  for (unsigned i = 0; i < bytes; ++i) {
    if (selected(i)) s.cpu.memory.CheckWritable(linear + i, 1, s.cpu.User());
  }
  for (unsigned i = 0; i < bytes; ++i) {
    if (selected(i)) s.cpu.memory.Write(linear + i, data_bytes[i], s.cpu.Write());
  }
  if (!wide) EnterMmx(s.state());
}

}  // namespace ring3
