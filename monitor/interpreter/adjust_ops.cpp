// Decimal adjustment, flag instructions and bit tests, by the SDM's pseudo-code. Flags that the SDM leaves undefined
// come out as current hardware sets them, where that is simple.
#include "monitor/interpreter/alu_flags.h"
#include "monitor/interpreter/handlers.h"
#include "monitor/interpreter/operands.h"

namespace ring3 {
namespace {

constexpr uint32_t kLahfFlags = eflags::kSf | eflags::kZf | eflags::kAf | eflags::kPf | eflags::kCf;

uint32_t Al(const Step& s) { return ReadLow(s.state(), kEax, 1); }
uint32_t Ah(const Step& s) { return ReadGpr(s.state(), ZYDIS_REGISTER_AH); }
void SetAl(Step& s, uint32_t value) { WriteLow(s.state(), kEax, 1, value); }
void SetAh(Step& s, uint32_t value) { WriteGpr(s.state(), ZYDIS_REGISTER_AH, value); }
void SetArithmeticFlags(Step& s, uint32_t flags) { s.state().eflags = (s.state().eflags & ~kArithmeticFlags) | flags; }

bool LowDigitOverflows(const Step& s) { return (Al(s) & 0xF) > 9 || (s.state().eflags & eflags::kAf); }

void AdjustAscii(Step& s, uint32_t al_delta, uint32_t ah_delta) {
  uint32_t flags = 0;
  if (LowDigitOverflows(s)) {
    const uint32_t ax = ReadLow(s.state(), kEax, 2) + al_delta + (ah_delta << 8);
    WriteLow(s.state(), kEax, 2, ax);
    flags = eflags::kAf | eflags::kCf;
  }
  SetAl(s, Al(s) & 0xF);
  SetArithmeticFlags(s, flags | ResultFlags(Al(s), 1));
}

void AdjustDecimal(Step& s, bool subtract) {
  constexpr uint32_t kHighDigitLimit = 0x99, kLowDelta = 6, kHighDelta = 0x60;
  const uint32_t old_al = Al(s), old_flags = s.state().eflags;
  uint32_t al = old_al, flags = 0;
  if (LowDigitOverflows(s)) {
    flags |= eflags::kAf;
    const bool carry = subtract ? al < kLowDelta : al + kLowDelta > 0xFF;
    if ((old_flags & eflags::kCf) || carry) flags |= eflags::kCf;
    al = subtract ? al - kLowDelta : al + kLowDelta;
  }
  if (old_al > kHighDigitLimit || (old_flags & eflags::kCf)) {
    al = subtract ? al - kHighDelta : al + kHighDelta;
    flags |= eflags::kCf;
  } else if (!subtract) {
    flags &= ~eflags::kCf;
  }
  SetAl(s, al);
  SetArithmeticFlags(s, flags | ResultFlags(al, 1));
}

uint32_t AdjustBase(const Step& s) { return static_cast<uint8_t>(s.d.insn.raw.imm[0].value.u); }

}  // namespace

void ExecuteAaa(Step& s) { AdjustAscii(s, 6, 1); }
void ExecuteAas(Step& s) { AdjustAscii(s, 0u - 6, 0u - 1); }
void ExecuteDaa(Step& s) { AdjustDecimal(s, false); }
void ExecuteDas(Step& s) { AdjustDecimal(s, true); }

void ExecuteAam(Step& s) {
  const uint32_t base = AdjustBase(s);
  if (base == 0) ThrowFault(Vector::kDivideError);
  const uint32_t al = Al(s);
  SetAh(s, al / base);
  SetAl(s, al % base);
  SetArithmeticFlags(s, ResultFlags(Al(s), 1));
}

void ExecuteAad(Step& s) {
  const uint32_t al = Al(s) + Ah(s) * AdjustBase(s);
  WriteLow(s.state(), kEax, 2, al & 0xFF);
  SetArithmeticFlags(s, ResultFlags(al, 1));
}

void ExecuteSalc(Step& s) { SetAl(s, s.state().eflags & eflags::kCf ? 0xFF : 0); }
void ExecuteLahf(Step& s) { SetAh(s, (s.state().eflags & kLahfFlags) | eflags::kReserved1); }
void ExecuteSahf(Step& s) { s.state().eflags = (s.state().eflags & ~kLahfFlags) | (Ah(s) & kLahfFlags); }
void ExecuteCld(Step& s) { s.state().eflags &= ~eflags::kDf; }
void ExecuteStd(Step& s) { s.state().eflags |= eflags::kDf; }

void ExecuteBitTest(Step& s) {
  const Operand &base = s.d.Op(0), &index = s.d.Op(1);
  const unsigned bits = base.size, bytes = bits / 8u;
  const bool modifies = s.d.insn.mnemonic != ZYDIS_MNEMONIC_BT;
  const uint32_t number = ReadOperand(s, index);
  const bool memory = base.type == ZYDIS_OPERAND_TYPE_MEMORY;
  GuestLinear linear;
  if (memory) {
    uint32_t offset = EffectiveAddress(s, base);
    if (index.type == ZYDIS_OPERAND_TYPE_REGISTER) {
      // The index is signed and reaches beyond the operand, in units of it.
      const int32_t wide = bits == 32 ? static_cast<int32_t>(number) : static_cast<int16_t>(number);
      offset += static_cast<uint32_t>(wide >> (bits == 32 ? 5 : 4)) * bytes;
    }
    linear = DataLinear(s, SegOf(base.mem.segment), offset & s.AddressMask(), bytes,
                        modifies ? AccessType::kWrite : AccessType::kRead);
    if (modifies) s.cpu.memory.CheckWritable(linear, bytes, s.cpu.User());
  }
  uint32_t value = memory ? ReadMemory(s.cpu, linear, bytes) : ReadGpr(s.state(), base.reg.value);
  const uint32_t bit = 1u << (number & (bits - 1));
  const bool was_set = value & bit;
  switch (s.d.insn.mnemonic) {
    case ZYDIS_MNEMONIC_BTS:
      value |= bit;
      break;
    case ZYDIS_MNEMONIC_BTR:
      value &= ~bit;
      break;
    case ZYDIS_MNEMONIC_BTC:
      value ^= bit;
      break;
    default:
      break;
  }
  if (modifies && memory) WriteMemory(s.cpu, linear, bytes, value);
  if (modifies && !memory) WriteGpr(s.state(), base.reg.value, value);
  s.state().eflags = (s.state().eflags & ~eflags::kCf) | (was_set ? eflags::kCf : 0);
}

}  // namespace ring3
