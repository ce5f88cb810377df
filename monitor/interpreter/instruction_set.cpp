#include "monitor/interpreter/instruction_set.h"

namespace ring3 {
namespace {

constexpr uint32_t kEcxMovbe = 1u << 22;  // CPUID.1:ECX
constexpr unsigned kFamilyP6 = 6;

/// One row per instruction set of the decoder that some CPU model has; what is not listed exists on none.
struct SetRow {
  ZydisISASet set;
  FeatureNeed need;
};
constexpr SetRow kSets[] = {
    {ZYDIS_ISA_SET_I86, {}},
    {ZYDIS_ISA_SET_I186, {}},
    {ZYDIS_ISA_SET_I286REAL, {}},
    {ZYDIS_ISA_SET_I286PROTECTED, {}},
    {ZYDIS_ISA_SET_I386, {}},
    {ZYDIS_ISA_SET_I486REAL, {}},
    {ZYDIS_ISA_SET_I486, {}},
    {ZYDIS_ISA_SET_LAHF, {}},
    {ZYDIS_ISA_SET_PAUSE, {}},
    {ZYDIS_ISA_SET_PENTIUMREAL, {}},
    {ZYDIS_ISA_SET_PENTIUMMMX, {.edx = cpuid_edx::kMmx}},
    {ZYDIS_ISA_SET_PPRO, {.min_family = kFamilyP6}},
    {ZYDIS_ISA_SET_RDPMC, {.min_family = kFamilyP6}},
    {ZYDIS_ISA_SET_FAT_NOP, {.min_family = kFamilyP6}},
    {ZYDIS_ISA_SET_PREFETCH_NOP, {.min_family = kFamilyP6}},
    {ZYDIS_ISA_SET_CMOV, {.edx = cpuid_edx::kCmov}},
    {ZYDIS_ISA_SET_X87, {.edx = cpuid_edx::kFpu}},
    {ZYDIS_ISA_SET_FCMOV, {.edx = cpuid_edx::kFpu | cpuid_edx::kCmov}},
    {ZYDIS_ISA_SET_FXSAVE, {.edx = cpuid_edx::kFxsr}},
    {ZYDIS_ISA_SET_CLFSH, {.edx = cpuid_edx::kClflush}},
    {ZYDIS_ISA_SET_SSE, {.edx = cpuid_edx::kSse}},
    {ZYDIS_ISA_SET_SSEMXCSR, {.edx = cpuid_edx::kSse}},
    {ZYDIS_ISA_SET_SSE_PREFETCH, {.edx = cpuid_edx::kSse}},
    {ZYDIS_ISA_SET_SSE2, {.edx = cpuid_edx::kSse2}},
    {ZYDIS_ISA_SET_SSE2MMX, {.edx = cpuid_edx::kSse2}},
    {ZYDIS_ISA_SET_SSE3, {.ecx = cpuid_ecx::kSse3}},
    {ZYDIS_ISA_SET_SSE3X87, {.ecx = cpuid_ecx::kSse3}},
    {ZYDIS_ISA_SET_SSSE3, {.ecx = cpuid_ecx::kSsse3}},
    {ZYDIS_ISA_SET_SSSE3MMX, {.ecx = cpuid_ecx::kSsse3}},
    {ZYDIS_ISA_SET_SSE4, {.ecx = cpuid_ecx::kSse41}},
    {ZYDIS_ISA_SET_SSE42, {.ecx = cpuid_ecx::kSse42}},
    {ZYDIS_ISA_SET_POPCNT, {.ecx = cpuid_ecx::kPopcnt}},
    {ZYDIS_ISA_SET_MOVBE, {.ecx = kEcxMovbe}},
};

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

FeatureNeed NeedOf(const Decoded& d) {
  if (d.insn.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY) return {.never = true};
  switch (d.insn.mnemonic) {
    case ZYDIS_MNEMONIC_RDTSC:
      return {.edx = cpuid_edx::kTsc};
    case ZYDIS_MNEMONIC_RDMSR:
    case ZYDIS_MNEMONIC_WRMSR:
      return {.edx = cpuid_edx::kMsr};
    case ZYDIS_MNEMONIC_CMPXCHG8B:
      return {.edx = cpuid_edx::kCx8};
    case ZYDIS_MNEMONIC_SYSENTER:
    case ZYDIS_MNEMONIC_SYSEXIT:
      return {.edx = cpuid_edx::kSep};
    case ZYDIS_MNEMONIC_RSM:  // outside SMM
    case ZYDIS_MNEMONIC_UD0:
    case ZYDIS_MNEMONIC_UD1:
    case ZYDIS_MNEMONIC_UD2:
    case ZYDIS_MNEMONIC_SYSCALL:
    case ZYDIS_MNEMONIC_SYSRET:
      return {.never = true};
    default:
      break;
  }
  for (const SetRow& row : kSets) {
    if (row.set == d.insn.meta.isa_set) return row.need;
  }
  return {.never = true};
}

FpuUse FpuUseOf(const Decoded& d) {
  switch (d.insn.meta.isa_set) {
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
  if (Uses(d, ZYDIS_REGCLASS_X87)) return FpuUse::kX87Waiting;
  const bool mmx = Uses(d, ZYDIS_REGCLASS_MMX) || d.insn.mnemonic == ZYDIS_MNEMONIC_EMMS;
  const bool xmm = Uses(d, ZYDIS_REGCLASS_XMM) || ConvertsFromXmm(d.insn.mnemonic);
  if (mmx && xmm) return FpuUse::kSseAndMmx;
  if (xmm) return FpuUse::kSse;
  return mmx ? FpuUse::kMmx : FpuUse::kNone;
}

bool Available(const CpuModel& model, const FeatureNeed& need) {
  constexpr unsigned kFamilyShift = 8, kFamilyMask = 0xF;  // CPUID.1:EAX; extended families come with family 15
  if (need.never) return false;
  if (need.min_family > ((model.signature >> kFamilyShift) & kFamilyMask)) return false;
  return (model.features_edx & need.edx) == need.edx && (model.features_ecx & need.ecx) == need.ecx;
}

}  // namespace ring3
