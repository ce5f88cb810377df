// Which encodings the native oracle can be asked about.
#pragma once

#include <Zydis/Zydis.h>

#include <set>

namespace ring3 {

/// Enters the host's kernel, depends on the host's descriptor tables and registers, or gives different values at each
/// execution or on each model.
inline bool IsHostSpecific(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_INT:
    case ZYDIS_MNEMONIC_INT1:
    case ZYDIS_MNEMONIC_INT3:
    case ZYDIS_MNEMONIC_INTO:
    case ZYDIS_MNEMONIC_SYSENTER:
    case ZYDIS_MNEMONIC_SYSEXIT:
    case ZYDIS_MNEMONIC_SYSCALL:
    case ZYDIS_MNEMONIC_SYSRET:
    case ZYDIS_MNEMONIC_IRET:
    case ZYDIS_MNEMONIC_IRETD:
    case ZYDIS_MNEMONIC_LDS:
    case ZYDIS_MNEMONIC_LES:
    case ZYDIS_MNEMONIC_LFS:
    case ZYDIS_MNEMONIC_LGS:
    case ZYDIS_MNEMONIC_LSS:
    case ZYDIS_MNEMONIC_LAR:
    case ZYDIS_MNEMONIC_LSL:
    case ZYDIS_MNEMONIC_VERR:
    case ZYDIS_MNEMONIC_VERW:
    case ZYDIS_MNEMONIC_SGDT:
    case ZYDIS_MNEMONIC_SIDT:
    case ZYDIS_MNEMONIC_SLDT:
    case ZYDIS_MNEMONIC_STR:
    case ZYDIS_MNEMONIC_SMSW:
    case ZYDIS_MNEMONIC_CPUID:
    case ZYDIS_MNEMONIC_RDTSC:
    case ZYDIS_MNEMONIC_RDPMC:
    case ZYDIS_MNEMONIC_FXSAVE:  // stores the host's MXCSR_MASK
      return true;
    default:
      return false;
  }
}

/// AMD's LOOPE and LOOPNE take their condition from a repeat prefix, which the SDM (2A 2.1.1) reserves there.
inline bool IsLoopWithRepeat(const ZydisDecodedInstruction& insn) {
  const bool loop = insn.mnemonic == ZYDIS_MNEMONIC_LOOPE || insn.mnemonic == ZYDIS_MNEMONIC_LOOPNE;
  constexpr uint8_t kRepne = 0xF2, kRep = 0xF3;
  for (unsigned i = 0; i < insn.raw.prefix_count; ++i) {
    const uint8_t prefix = insn.raw.prefixes[i].value;
    if (loop && (prefix == kRepne || prefix == kRep)) return true;
  }
  return false;
}

/// What the "max" model offers; other encodings are #UD to it and something else to the processor.
inline bool OfferedByMax(ZydisISASet set) {
  static const std::set<ZydisISASet> sets = {
      ZYDIS_ISA_SET_I86,        ZYDIS_ISA_SET_I186,         ZYDIS_ISA_SET_I286REAL, ZYDIS_ISA_SET_I286PROTECTED,
      ZYDIS_ISA_SET_I386,       ZYDIS_ISA_SET_I486REAL,     ZYDIS_ISA_SET_I486,     ZYDIS_ISA_SET_LAHF,
      ZYDIS_ISA_SET_PAUSE,      ZYDIS_ISA_SET_PPRO,         ZYDIS_ISA_SET_FAT_NOP,  ZYDIS_ISA_SET_PENTIUMREAL,
      ZYDIS_ISA_SET_PENTIUMMMX, ZYDIS_ISA_SET_CMOV,         ZYDIS_ISA_SET_X87,      ZYDIS_ISA_SET_FCMOV,
      ZYDIS_ISA_SET_FXSAVE,     ZYDIS_ISA_SET_CLFSH,        ZYDIS_ISA_SET_SSE,      ZYDIS_ISA_SET_SSEMXCSR,
      ZYDIS_ISA_SET_SSE2,       ZYDIS_ISA_SET_SSE2MMX,      ZYDIS_ISA_SET_SSE3,     ZYDIS_ISA_SET_SSE3X87,
      ZYDIS_ISA_SET_SSSE3,      ZYDIS_ISA_SET_SSSE3MMX,     ZYDIS_ISA_SET_SSE4,     ZYDIS_ISA_SET_SSE42,
      ZYDIS_ISA_SET_POPCNT,     ZYDIS_ISA_SET_SSE_PREFETCH, ZYDIS_ISA_SET_AES,      ZYDIS_ISA_SET_PCLMULQDQ,
      ZYDIS_ISA_SET_SHA,        ZYDIS_ISA_SET_MOVBE,        ZYDIS_ISA_SET_LZCNT,    ZYDIS_ISA_SET_BMI1,
      ZYDIS_ISA_SET_BMI2,       ZYDIS_ISA_SET_ADOX_ADCX,    ZYDIS_ISA_SET_AVX,      ZYDIS_ISA_SET_AVX2,
      ZYDIS_ISA_SET_AVX2GATHER, ZYDIS_ISA_SET_AVXAES,       ZYDIS_ISA_SET_F16C,     ZYDIS_ISA_SET_FMA};
  return sets.contains(set);
}

}  // namespace ring3
