// String instructions run natively with ESI and EDI biased by the window's base. Their low halves are the guest's
// values at every moment, so a fault in the middle restarts with what is left to do.
#include <bit>
#include <utility>

#include "translator/emitter.h"
#include "translator/host_registers.h"
#include "translator/vcpu.h"

namespace ring3 {

using namespace asmjit;

namespace {

/// Prefixes may be given many times over; the last of F2 and F3 counts.
uint8_t RepeatPrefix(const GuestInstruction& insn) {
  uint8_t repeat = 0;
  for (unsigned i = 0; i < insn.info.raw.prefix_count; ++i) {
    const uint8_t prefix = insn.info.raw.prefixes[i].value;
    if (prefix == 0xF2 || prefix == 0xF3) repeat = prefix;
  }
  return repeat;
}

unsigned ElementBytes(const GuestInstruction& insn) {
  const bool byte = !(insn.bytes[insn.length - 1] & 1);
  return byte ? 1 : insn.info.operand_width / 8;
}

}  // namespace

bool Emitter::EmitString(const GuestInstruction& insn) { return EmitFlatString(insn) || EmitOneElement(insn); }

bool Emitter::EmitFlatString(const GuestInstruction& insn) {
  if (insn.Is16BitAddress()) return false;
  bool uses_esi = false, uses_edi = false;
  for (unsigned i = 0; i < insn.info.operand_count; ++i) {
    const ZydisDecodedOperand& op = insn.operands[i];
    if (op.type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
    if (mode_.Shape(SegmentOf(op)) != SegmentShape::kFlat) return false;
    uses_esi |= op.mem.base == ZYDIS_REGISTER_ESI;
    uses_edi |= op.mem.base == ZYDIS_REGISTER_EDI;
  }
  if (uses_esi) EmitRebias(kEsi);
  if (uses_edi) EmitRebias(kEdi);
  uint8_t bytes[3];
  size_t n = 0;
  if (ElementBytes(insn) == 2) bytes[n++] = 0x66;
  if (const uint8_t repeat = RepeatPrefix(insn)) {
    bytes[n++] = repeat;
    Mark(RecoveryEntry{.repeating = true, .eip = insn.eip});
  }
  bytes[n++] = insn.bytes[insn.length - 1];
  EmitBytes({bytes, n});
  // With REP the instruction is done only once it no longer restarts; what follows is cleaning up.
  Mark(insn.NextEip());
  if (uses_esi) as_.mov(x86::esi, x86::esi);
  if (uses_edi) as_.mov(x86::edi, x86::edi);
  return true;
}

/// One element where segments must be checked or addresses are 16 bits wide: through scratch registers, the index
/// registers last. Repeated ones move whole runs on the slow path.
bool Emitter::EmitOneElement(const GuestInstruction& insn) {
  if (RepeatPrefix(insn)) return false;
  const ZydisDecodedOperand *source = nullptr, *destination = nullptr;
  for (unsigned i = 0; i < insn.info.operand_count; ++i) {
    const ZydisDecodedOperand& op = insn.operands[i];
    if (op.type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
    if (!Addressable(insn, op)) return false;
    const bool through_esi = op.mem.base == ZYDIS_REGISTER_ESI || op.mem.base == ZYDIS_REGISTER_SI;
    (through_esi ? source : destination) = &op;
  }
  const unsigned bytes = ElementBytes(insn);
  const bool byte = bytes == 1;
  const uint8_t load[] = {static_cast<uint8_t>(byte ? 0x8A : 0x8B)},
                store[] = {static_cast<uint8_t>(byte ? 0x88 : 0x89)};
  const auto element = [&](const ZydisDecodedOperand& op, unsigned gpr) {
    EmitOffset({.base = static_cast<uint8_t>(gpr)}, insn.Is16BitAddress());
    return EmitSegmented(SegmentOf(op), bytes);
  };
  switch (insn.bytes[insn.length - 1] & 0xFE) {
    case 0xA4:  // MOVS
      EmitMemoryOp(load, host::kScratch, element(*source, kEsi), bytes == 2);
      EmitMemoryOp(store, host::kScratch, element(*destination, kEdi), bytes == 2);
      break;
    case 0xAA:  // STOS
      EmitMemoryOp(store, kEax, element(*destination, kEdi), bytes == 2);
      break;
    case 0xAC:  // LODS
      EmitMemoryOp(load, host::kScratch, element(*source, kEsi), bytes == 2);
      break;
    default:
      return false;
  }
  EmitStringStep(bytes);
  MarkBusy(insn.eip);
  if (!destination) {
    if (byte) {
      as_.mov(x86::al, x86::r8b);
    } else {
      as_.mov(host::Sized(kEax, bytes), host::SizedScratch(bytes));
    }
  }
  const unsigned index_bytes = insn.Is16BitAddress() ? 2 : 4;
  for (auto [used, gpr] : {std::pair{source, kEsi}, std::pair{destination, kEdi}}) {
    if (!used) continue;
    as_.lea(x86::r10d, x86::ptr(host::Full(gpr), x86::r9));
    EmitSetRegister(gpr, index_bytes, x86::r10);
  }
  return true;
}

/// r9 := how far an index register moves. DF is read without touching a flag.
void Emitter::EmitStringStep(unsigned bytes) {
  as_.pushfq();
  as_.pop(x86::r9);
  as_.mov(x86::r10d, eflags::kDf);
  as_.pext(x86::r9d, x86::r9d, x86::r10d);
  as_.movsxd(x86::r9, x86::dword_ptr(x86::r12, x86::r9, 2, vcpu_offset::StringSteps(std::countr_zero(bytes))));
}

}  // namespace ring3
