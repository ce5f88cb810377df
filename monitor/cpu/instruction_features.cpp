#include "monitor/cpu/instruction_features.h"

#include <array>

namespace ring3 {
namespace {

constexpr unsigned kFamilyP6 = 6;

/// One row per instruction set of the decoder that some CPU model has; what is not listed exists on none.
struct SetRow {
  ZydisISASet set;
  FeatureNeed need;
};
constexpr SetRow kRows[] = {
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
    {ZYDIS_ISA_SET_MOVBE, {.ecx = cpuid_ecx::kMovbe}},
    {ZYDIS_ISA_SET_AES, {.ecx = cpuid_ecx::kAes}},
    {ZYDIS_ISA_SET_PCLMULQDQ, {.ecx = cpuid_ecx::kPclmulqdq}},
    {ZYDIS_ISA_SET_RDRAND, {.ecx = cpuid_ecx::kRdrand}},
    {ZYDIS_ISA_SET_RDSEED, {.ebx7 = cpuid7_ebx::kRdseed}},
    {ZYDIS_ISA_SET_LZCNT, {.extended_ecx = cpuid_extended_ecx::kLzcnt}},
    {ZYDIS_ISA_SET_BMI1, {.ebx7 = cpuid7_ebx::kBmi1}},
    {ZYDIS_ISA_SET_BMI2, {.ebx7 = cpuid7_ebx::kBmi2}},
    {ZYDIS_ISA_SET_ADOX_ADCX, {.ebx7 = cpuid7_ebx::kAdx}},
    {ZYDIS_ISA_SET_SHA, {.ebx7 = cpuid7_ebx::kSha}},
    {ZYDIS_ISA_SET_XSAVE, {.ecx = cpuid_ecx::kXsave}},
    {ZYDIS_ISA_SET_XSAVEOPT, {.xsave = cpuid_xsave::kXsaveopt}},
    {ZYDIS_ISA_SET_XSAVEC, {.xsave = cpuid_xsave::kXsavec}},
    {ZYDIS_ISA_SET_AVX, {.ecx = cpuid_ecx::kAvx}},
    {ZYDIS_ISA_SET_F16C, {.ecx = cpuid_ecx::kF16c}},
    {ZYDIS_ISA_SET_FMA, {.ecx = cpuid_ecx::kFma}},
    {ZYDIS_ISA_SET_AVXAES, {.ecx = cpuid_ecx::kAvx | cpuid_ecx::kAes}},
    {ZYDIS_ISA_SET_AVX2, {.ebx7 = cpuid7_ebx::kAvx2}},
    {ZYDIS_ISA_SET_AVX2GATHER, {.ebx7 = cpuid7_ebx::kAvx2}},
};

constexpr auto kBySet = [] {
  std::array<FeatureNeed, ZYDIS_ISA_SET_MAX_VALUE + 1> by_set;
  by_set.fill({.never = true});
  for (const SetRow& row : kRows) by_set[row.set] = row.need;
  return by_set;
}();

}  // namespace

FeatureNeed NeedOf(const ZydisDecodedInstruction& instruction) {
  const bool vex = instruction.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
  if (!vex && instruction.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY) return {.never = true};
  switch (instruction.mnemonic) {
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
    case ZYDIS_MNEMONIC_VPCLMULQDQ:  // the 256-bit form is in an instruction set of its own
      if (instruction.meta.isa_set != ZYDIS_ISA_SET_AVX) return {.never = true};
      return {.ecx = cpuid_ecx::kAvx | cpuid_ecx::kPclmulqdq};
    case ZYDIS_MNEMONIC_RSM:  // outside SMM
    case ZYDIS_MNEMONIC_UD0:
    case ZYDIS_MNEMONIC_UD1:
    case ZYDIS_MNEMONIC_UD2:
    case ZYDIS_MNEMONIC_SYSCALL:
    case ZYDIS_MNEMONIC_SYSRET:
      return {.never = true};
    default:
      return kBySet[instruction.meta.isa_set];
  }
}

bool Available(const CpuModel& model, const FeatureNeed& need) {
  constexpr unsigned kFamilyShift = 8, kFamilyMask = 0xF;  // CPUID.1:EAX; extended families come with family 15
  if (need.never) return false;
  if (need.min_family > ((model.signature >> kFamilyShift) & kFamilyMask)) return false;
  return (model.features_edx & need.edx) == need.edx && (model.features_ecx & need.ecx) == need.ecx &&
         (model.features7_ebx & need.ebx7) == need.ebx7 &&
         (model.extended_ecx & need.extended_ecx) == need.extended_ecx &&
         (model.xsave_features & need.xsave) == need.xsave;
}

}  // namespace ring3
