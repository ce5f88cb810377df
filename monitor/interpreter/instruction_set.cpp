#include "monitor/interpreter/instruction_set.h"

#include "monitor/cpu/vex.h"

namespace ring3 {
namespace {

bool Uses(const Decoded& d, ZydisRegisterClass wanted) {
  for (unsigned i = 0; i < d.insn.operand_count; ++i) {
    const ZydisDecodedOperand& op = d.operands[i];
    if (op.type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(op.reg.value) == wanted) return true;
  }
  return false;
}

/// SSE conversions whose source may be memory and whose destination is no XMM register.
bool ConvertsFromXmm(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_CVTPD2PI:
    case ZYDIS_MNEMONIC_CVTTPD2PI:
    case ZYDIS_MNEMONIC_CVTPS2PI:
    case ZYDIS_MNEMONIC_CVTTPS2PI:
    case ZYDIS_MNEMONIC_CVTSD2SI:
    case ZYDIS_MNEMONIC_CVTTSD2SI:
    case ZYDIS_MNEMONIC_CVTSS2SI:
    case ZYDIS_MNEMONIC_CVTTSS2SI:
      return true;
    default:
      return false;
  }
}

bool NamesXcr0(ZydisMnemonic mnemonic) {
  return mnemonic == ZYDIS_MNEMONIC_XGETBV || mnemonic == ZYDIS_MNEMONIC_XSETBV;
}

FpuUse X87UseOf(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_FNSTSW:
    case ZYDIS_MNEMONIC_FNSTCW:
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_FNSAVE:
    case ZYDIS_MNEMONIC_FNINIT:
    case ZYDIS_MNEMONIC_FNCLEX:
    case ZYDIS_MNEMONIC_FDISI8087_NOP:
    case ZYDIS_MNEMONIC_FENI8087_NOP:
    case ZYDIS_MNEMONIC_FSETPM287_NOP:
      return FpuUse::kX87NoWait;
    default:
      return FpuUse::kX87Waiting;
  }
}

}  // namespace

FpuUse FpuUseOf(const Decoded& d) {
  switch (d.insn.meta.isa_set) {
    case ZYDIS_ISA_SET_BMI1:
    case ZYDIS_ISA_SET_BMI2:
      return FpuUse::kNone;
    case ZYDIS_ISA_SET_XSAVE:
    case ZYDIS_ISA_SET_XSAVEOPT:
    case ZYDIS_ISA_SET_XSAVEC:
      return NamesXcr0(d.insn.mnemonic) ? FpuUse::kNone : FpuUse::kXsave;
    case ZYDIS_ISA_SET_X87:
    case ZYDIS_ISA_SET_FCMOV:
    case ZYDIS_ISA_SET_SSE3X87:
      return X87UseOf(d.insn.mnemonic);
    case ZYDIS_ISA_SET_SSEMXCSR:
      return FpuUse::kSse;
    case ZYDIS_ISA_SET_FXSAVE:
      return FpuUse::kX87NoWait;
    default:
      break;
  }
  if (IsVex(d.insn)) return FpuUse::kAvx;
  if (Uses(d, ZYDIS_REGCLASS_X87)) return FpuUse::kX87Waiting;
  const bool mmx = Uses(d, ZYDIS_REGCLASS_MMX) || d.insn.mnemonic == ZYDIS_MNEMONIC_EMMS;
  const bool xmm = Uses(d, ZYDIS_REGCLASS_XMM) || ConvertsFromXmm(d.insn.mnemonic);
  if (mmx && xmm) return FpuUse::kSseAndMmx;
  if (xmm) return FpuUse::kSse;
  return mmx ? FpuUse::kMmx : FpuUse::kNone;
}

}  // namespace ring3
