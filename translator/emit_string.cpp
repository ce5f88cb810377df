// String instructions run natively with ESI and EDI biased by the window's base. Their low halves are the guest's
// values at every moment, so a fault in the middle restarts with what is left to do.
#include "translator/emitter.h"
#include "translator/host_registers.h"

namespace ring3 {

using namespace asmjit;

bool Emitter::EmitString(const GuestInstruction& insn) {
  if (insn.Is16BitAddress()) return false;
  bool uses_esi = false, uses_edi = false;
  for (unsigned i = 0; i < insn.info.operand_count; ++i) {
    const ZydisDecodedOperand& op = insn.operands[i];
    if (op.type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
    if (op.mem.segment == ZYDIS_REGISTER_CS || !Addressable(insn, op)) return false;
    if (mode_.Shape(static_cast<Seg>(ZydisRegisterGetId(op.mem.segment))) != SegmentShape::kFlat) return false;
    uses_esi |= op.mem.base == ZYDIS_REGISTER_ESI;
    uses_edi |= op.mem.base == ZYDIS_REGISTER_EDI;
  }
  if (uses_esi) EmitRebias(kEsi);
  if (uses_edi) EmitRebias(kEdi);
  // Prefixes may be given many times over; the last of F2 and F3 counts.
  uint8_t repeat = 0;
  bool operand_size = false;
  for (unsigned i = 0; i < insn.info.raw.prefix_count; ++i) {
    const uint8_t prefix = insn.info.raw.prefixes[i].value;
    if (prefix == 0xF2 || prefix == 0xF3) repeat = prefix;
    operand_size |= prefix == 0x66;
  }
  uint8_t bytes[3];
  size_t n = 0;
  if (operand_size) bytes[n++] = 0x66;
  if (repeat) bytes[n++] = repeat;
  bytes[n++] = insn.bytes[insn.length - 1];
  EmitBytes({bytes, n});
  // With REP the instruction is done only once it no longer restarts; what follows is cleaning up.
  Mark(insn.NextEip());
  if (uses_esi) as_.mov(x86::esi, x86::esi);
  if (uses_edi) as_.mov(x86::edi, x86::edi);
  return true;
}

}  // namespace ring3
