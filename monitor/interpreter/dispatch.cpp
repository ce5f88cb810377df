#include "monitor/interpreter/dispatch.h"

#include <unordered_map>

#include "monitor/interpreter/handlers.h"

namespace ring3 {
namespace {

#define RING3_M(name) ZYDIS_MNEMONIC_##name

/// One row per mnemonic that isn't executed natively. MOV, PUSH and POP are told apart by operands below.
const std::unordered_map<int, Handler>& Handlers() {
  static const std::unordered_map<int, Handler> handlers = {
      {RING3_M(LOOP), ExecuteLoop},
      {RING3_M(LOOPE), ExecuteLoop},
      {RING3_M(LOOPNE), ExecuteLoop},
      {RING3_M(JCXZ), ExecuteJcxz},
      {RING3_M(JECXZ), ExecuteJcxz},
      {RING3_M(JMP), ExecuteJump},
      {RING3_M(CALL), ExecuteCall},
      {RING3_M(RET), ExecuteReturn},
      {RING3_M(INT), ExecuteInt},
      {RING3_M(INT1), ExecuteInt1},
      {RING3_M(INT3), ExecuteInt3},
      {RING3_M(INTO), ExecuteInto},
      {RING3_M(BOUND), ExecuteBound},
      {RING3_M(IRET), ExecuteIret},
      {RING3_M(IRETD), ExecuteIret},
      {RING3_M(SYSENTER), ExecuteSysenter},
      {RING3_M(SYSEXIT), ExecuteSysexit},

      {RING3_M(PUSHA), ExecutePusha},
      {RING3_M(PUSHAD), ExecutePusha},
      {RING3_M(POPA), ExecutePopa},
      {RING3_M(POPAD), ExecutePopa},
      {RING3_M(PUSHF), ExecutePushf},
      {RING3_M(PUSHFD), ExecutePushf},
      {RING3_M(POPF), ExecutePopf},
      {RING3_M(POPFD), ExecutePopf},
      {RING3_M(ENTER), ExecuteEnter},
      {RING3_M(LEAVE), ExecuteLeave},

      {RING3_M(MOVSB), ExecuteMovs},
      {RING3_M(MOVSW), ExecuteMovs},
      {RING3_M(CMPSB), ExecuteCmps},
      {RING3_M(CMPSW), ExecuteCmps},
      {RING3_M(STOSB), ExecuteStos},
      {RING3_M(STOSW), ExecuteStos},
      {RING3_M(STOSD), ExecuteStos},
      {RING3_M(LODSB), ExecuteLods},
      {RING3_M(LODSW), ExecuteLods},
      {RING3_M(LODSD), ExecuteLods},
      {RING3_M(SCASB), ExecuteScas},
      {RING3_M(SCASW), ExecuteScas},
      {RING3_M(SCASD), ExecuteScas},
      {RING3_M(INSB), ExecuteIns},
      {RING3_M(INSW), ExecuteIns},
      {RING3_M(INSD), ExecuteIns},
      {RING3_M(OUTSB), ExecuteOuts},
      {RING3_M(OUTSW), ExecuteOuts},
      {RING3_M(OUTSD), ExecuteOuts},

      {RING3_M(LDS), ExecuteLoadFarPointer},
      {RING3_M(LES), ExecuteLoadFarPointer},
      {RING3_M(LFS), ExecuteLoadFarPointer},
      {RING3_M(LGS), ExecuteLoadFarPointer},
      {RING3_M(LSS), ExecuteLoadFarPointer},
      {RING3_M(SGDT), ExecuteStoreTable},
      {RING3_M(SIDT), ExecuteStoreTable},
      {RING3_M(LGDT), ExecuteLoadTable},
      {RING3_M(LIDT), ExecuteLoadTable},
      {RING3_M(SLDT), ExecuteSldt},
      {RING3_M(STR), ExecuteStr},
      {RING3_M(LLDT), ExecuteLldt},
      {RING3_M(LTR), ExecuteLtr},
      {RING3_M(SMSW), ExecuteSmsw},
      {RING3_M(LMSW), ExecuteLmsw},
      {RING3_M(LAR), ExecuteLar},
      {RING3_M(LSL), ExecuteLsl},
      {RING3_M(VERR), ExecuteVerr},
      {RING3_M(VERW), ExecuteVerw},
      {RING3_M(ARPL), ExecuteArpl},

      {RING3_M(IN), ExecuteIn},
      {RING3_M(OUT), ExecuteOut},
      {RING3_M(HLT), ExecuteHlt},
      {RING3_M(CLI), ExecuteCli},
      {RING3_M(STI), ExecuteSti},
      {RING3_M(RDMSR), ExecuteRdmsr},
      {RING3_M(WRMSR), ExecuteWrmsr},
      {RING3_M(RDTSC), ExecuteRdtsc},
      {RING3_M(RDPMC), ExecuteRdpmc},
      {RING3_M(CPUID), ExecuteCpuid},
      {RING3_M(INVLPG), ExecuteInvlpg},
      {RING3_M(INVD), ExecuteCacheInvalidate},
      {RING3_M(WBINVD), ExecuteCacheInvalidate},
      {RING3_M(CLTS), ExecuteClts},
      {RING3_M(CLFLUSH), ExecuteClflush},

      {RING3_M(AAA), ExecuteAaa},
      {RING3_M(AAS), ExecuteAas},
      {RING3_M(AAM), ExecuteAam},
      {RING3_M(AAD), ExecuteAad},
      {RING3_M(DAA), ExecuteDaa},
      {RING3_M(DAS), ExecuteDas},
      {RING3_M(SALC), ExecuteSalc},
      {RING3_M(LAHF), ExecuteLahf},
      {RING3_M(SAHF), ExecuteSahf},
      {RING3_M(CLD), ExecuteCld},
      {RING3_M(STD), ExecuteStd},
      {RING3_M(BT), ExecuteBitTest},
      {RING3_M(BTC), ExecuteBitTest},
      {RING3_M(BTR), ExecuteBitTest},
      {RING3_M(BTS), ExecuteBitTest},

      {RING3_M(LEA), ExecuteLea},
      {RING3_M(XLAT), ExecuteXlat},
      {RING3_M(NOP), ExecuteNothing},
      {RING3_M(PAUSE), ExecuteNothing},
      {RING3_M(LFENCE), ExecuteNothing},
      {RING3_M(MFENCE), ExecuteNothing},
      {RING3_M(SFENCE), ExecuteNothing},
      {RING3_M(PREFETCH), ExecuteNothing},
      {RING3_M(PREFETCHW), ExecuteNothing},
      {RING3_M(PREFETCHNTA), ExecuteNothing},
      {RING3_M(PREFETCHT0), ExecuteNothing},
      {RING3_M(PREFETCHT1), ExecuteNothing},
      {RING3_M(PREFETCHT2), ExecuteNothing},
      {RING3_M(MASKMOVQ), ExecuteMaskedStore},
      {RING3_M(MASKMOVDQU), ExecuteMaskedStore},
      {RING3_M(VMASKMOVDQU), ExecuteMaskedStore},
      {RING3_M(VMASKMOVPS), ExecuteMaskedMove},
      {RING3_M(VMASKMOVPD), ExecuteMaskedMove},
      {RING3_M(VPMASKMOVD), ExecuteMaskedMove},
      {RING3_M(VPMASKMOVQ), ExecuteMaskedMove},
      {RING3_M(VGATHERDPS), ExecuteGather},
      {RING3_M(VGATHERDPD), ExecuteGather},
      {RING3_M(VGATHERQPS), ExecuteGather},
      {RING3_M(VGATHERQPD), ExecuteGather},
      {RING3_M(VPGATHERDD), ExecuteGather},
      {RING3_M(VPGATHERDQ), ExecuteGather},
      {RING3_M(VPGATHERQD), ExecuteGather},
      {RING3_M(VPGATHERQQ), ExecuteGather},

      {RING3_M(FWAIT), ExecuteFwait},
      {RING3_M(FXSAVE), ExecuteFxsave},
      {RING3_M(FXRSTOR), ExecuteFxrstor},
      {RING3_M(LDMXCSR), ExecuteLdmxcsr},
      {RING3_M(STMXCSR), ExecuteStmxcsr},
      {RING3_M(VLDMXCSR), ExecuteLdmxcsr},
      {RING3_M(VSTMXCSR), ExecuteStmxcsr},
      {RING3_M(XSAVE), ExecuteXsave},
      {RING3_M(XSAVEOPT), ExecuteXsave},
      {RING3_M(XSAVEC), ExecuteXsavec},
      {RING3_M(XRSTOR), ExecuteXrstor},
      {RING3_M(XGETBV), ExecuteXgetbv},
      {RING3_M(XSETBV), ExecuteXsetbv},

      {RING3_M(DIV), ExecuteDivide},
      {RING3_M(IDIV), ExecuteDivide},
  };
  return handlers;
}

ZydisRegisterClass ClassOf(const Decoded& d, unsigned index) {
  const ZydisDecodedOperand& op = d.Op(index);
  return op.type == ZYDIS_OPERAND_TYPE_REGISTER ? ZydisRegisterGetClass(op.reg.value) : ZYDIS_REGCLASS_INVALID;
}

Handler MovHandler(const Decoded& d) {
  switch (ClassOf(d, 0)) {
    case ZYDIS_REGCLASS_SEGMENT:
      return ExecuteMovToSegment;
    case ZYDIS_REGCLASS_CONTROL:
      return ExecuteMovToControl;
    case ZYDIS_REGCLASS_DEBUG:
      return ExecuteMovToDebug;
    default:
      break;
  }
  switch (ClassOf(d, 1)) {
    case ZYDIS_REGCLASS_SEGMENT:
      return ExecuteMovFromSegment;
    case ZYDIS_REGCLASS_CONTROL:
      return ExecuteMovFromControl;
    case ZYDIS_REGCLASS_DEBUG:
      return ExecuteMovFromDebug;
    default:
      return ExecuteMov;
  }
}

/// MOVSD and CMPSD name both string and SSE2 instructions.
bool IsString(const Decoded& d) { return d.insn.meta.category == ZYDIS_CATEGORY_STRINGOP; }

}  // namespace

Handler HandlerFor(const Decoded& d) {
  const bool segment = ClassOf(d, 0) == ZYDIS_REGCLASS_SEGMENT;
  switch (d.insn.mnemonic) {
    case ZYDIS_MNEMONIC_MOV:
      return MovHandler(d);
    case ZYDIS_MNEMONIC_PUSH:
      return segment ? ExecutePushSegment : ExecutePush;
    case ZYDIS_MNEMONIC_POP:
      return segment ? ExecutePopSegment : ExecutePop;
    case ZYDIS_MNEMONIC_MOVSD:
      return IsString(d) ? ExecuteMovs : ExecuteNative;
    case ZYDIS_MNEMONIC_CMPSD:
      return IsString(d) ? ExecuteCmps : ExecuteNative;
    default:
      break;
  }
  if (d.insn.meta.category == ZYDIS_CATEGORY_COND_BR && d.insn.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE) {
    const auto row = Handlers().find(d.insn.mnemonic);
    return row != Handlers().end() ? row->second : ExecuteJcc;
  }
  const auto row = Handlers().find(d.insn.mnemonic);
  if (row != Handlers().end()) return row->second;
  // A privileged instruction without a handler belongs to an extension that no model has.
  return d.insn.attributes & ZYDIS_ATTRIB_IS_PRIVILEGED ? ExecuteUndefined : ExecuteNative;
}

#undef RING3_M

}  // namespace ring3
