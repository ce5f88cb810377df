#include "tests/emitted/host_rules.h"

#include <algorithm>
#include <cstddef>

#include "translator/soft_site.h"
#include "translator/vcpu.h"

namespace ring3 {
namespace {

/// Categories of which everything may run at CPL 3 without an effect beyond its operands, but for kExceptions.
bool AllowedCategory(ZydisInstructionCategory category) {
  switch (category) {
    case ZYDIS_CATEGORY_AES:
    case ZYDIS_CATEGORY_ADOX_ADCX:
    case ZYDIS_CATEGORY_AVX:
    case ZYDIS_CATEGORY_AVX2:
    case ZYDIS_CATEGORY_AVX2GATHER:
    case ZYDIS_CATEGORY_BINARY:
    case ZYDIS_CATEGORY_BITBYTE:
    case ZYDIS_CATEGORY_BMI1:
    case ZYDIS_CATEGORY_BMI2:
    case ZYDIS_CATEGORY_BLEND:
    case ZYDIS_CATEGORY_BROADCAST:
    case ZYDIS_CATEGORY_CALL:
    case ZYDIS_CATEGORY_CMOV:
    case ZYDIS_CATEGORY_COND_BR:
    case ZYDIS_CATEGORY_CONVERT:
    case ZYDIS_CATEGORY_DATAXFER:
    case ZYDIS_CATEGORY_FCMOV:
    case ZYDIS_CATEGORY_FLAGOP:
    case ZYDIS_CATEGORY_GATHER:
    case ZYDIS_CATEGORY_LOGICAL:
    case ZYDIS_CATEGORY_LOGICAL_FP:
    case ZYDIS_CATEGORY_LZCNT:
    case ZYDIS_CATEGORY_MMX:
    case ZYDIS_CATEGORY_NOP:
    case ZYDIS_CATEGORY_PCLMULQDQ:
    case ZYDIS_CATEGORY_POP:
    case ZYDIS_CATEGORY_PREFETCH:
    case ZYDIS_CATEGORY_PUSH:
    case ZYDIS_CATEGORY_RDRAND:
    case ZYDIS_CATEGORY_RDSEED:
    case ZYDIS_CATEGORY_RET:
    case ZYDIS_CATEGORY_ROTATE:
    case ZYDIS_CATEGORY_SEMAPHORE:
    case ZYDIS_CATEGORY_SETCC:
    case ZYDIS_CATEGORY_SHA:
    case ZYDIS_CATEGORY_SHIFT:
    case ZYDIS_CATEGORY_SSE:
    case ZYDIS_CATEGORY_STRINGOP:
    case ZYDIS_CATEGORY_STTNI:
    case ZYDIS_CATEGORY_UNCOND_BR:
    case ZYDIS_CATEGORY_VFMA:
    case ZYDIS_CATEGORY_WIDENOP:
    case ZYDIS_CATEGORY_X87_ALU:
      return true;
    default:
      return false;
  }
}

/// Of other categories.
constexpr ZydisMnemonic kAlsoAllowed[] = {ZYDIS_MNEMONIC_LEA,    ZYDIS_MNEMONIC_PAUSE,  ZYDIS_MNEMONIC_EMMS,
                                          ZYDIS_MNEMONIC_LFENCE, ZYDIS_MNEMONIC_MFENCE, ZYDIS_MNEMONIC_SFENCE,
                                          ZYDIS_MNEMONIC_RDTSC,  ZYDIS_MNEMONIC_CLFLUSH};

/// Of the allowed categories: privileged, with operands that are not named, or with host addresses in what they store.
constexpr ZydisMnemonic kExceptions[] = {
    ZYDIS_MNEMONIC_CLI,      ZYDIS_MNEMONIC_STI,        ZYDIS_MNEMONIC_CLTS,        ZYDIS_MNEMONIC_LMSW,
    ZYDIS_MNEMONIC_MASKMOVQ, ZYDIS_MNEMONIC_MASKMOVDQU, ZYDIS_MNEMONIC_VMASKMOVDQU, ZYDIS_MNEMONIC_XLAT,
    ZYDIS_MNEMONIC_FNSAVE,   ZYDIS_MNEMONIC_FRSTOR,     ZYDIS_MNEMONIC_FNSTENV,     ZYDIS_MNEMONIC_FLDENV,
    ZYDIS_MNEMONIC_FXSAVE,   ZYDIS_MNEMONIC_FXRSTOR,    ZYDIS_MNEMONIC_FXSAVE64,    ZYDIS_MNEMONIC_FXRSTOR64,
    ZYDIS_MNEMONIC_RDPID,    ZYDIS_MNEMONIC_ENTER,      ZYDIS_MNEMONIC_LEAVE};

template <size_t N>
bool In(const ZydisMnemonic (&list)[N], ZydisMnemonic mnemonic) {
  return std::find(std::begin(list), std::end(list), mnemonic) != std::end(list);
}

struct Field {
  int offset;
  unsigned bytes;
};

/// Fields of the vCPU that blocks read, and the one that they write.
bool MayAccessVcpu(int64_t offset, unsigned bytes, bool write) {
  const auto inside = [&](int first, unsigned size) { return offset >= first && offset + bytes <= first + size; };
  if (inside(vcpu_offset::kInterruptFlag, 4)) return true;
  if (write) return false;
  for (const Field& field : {Field{vcpu_offset::kInterruptsWaiting, 4}, Field{vcpu_offset::kEflags, 4},
                             Field{vcpu_offset::kTscOffset, 8}, Field{vcpu_offset::kCr0, 4},
                             Field{vcpu_offset::kCr2, 4}, Field{vcpu_offset::kCr3, 4}, Field{vcpu_offset::kCr4, 4}}) {
    if (inside(field.offset, field.bytes)) return true;
  }
  for (unsigned i = 0; i < kSegCount; ++i) {
    const Seg s = static_cast<Seg>(i);
    if (inside(vcpu_offset::SegmentBase(s), 4) || inside(vcpu_offset::SegmentSelector(s), 2)) return true;
    if (inside(vcpu_offset::Check(s, 0), sizeof(SegmentCheck))) return true;
    if (inside(vcpu_offset::Access(s, offsetof(SegmentAccess, negated_size)), 8)) return true;
  }
  if (inside(vcpu_offset::BranchCheck(offsetof(SegmentAccess, negated_size)), 8)) return true;
  if (inside(vcpu_offset::ThunkCell(0), sizeof(ThunkCells))) return true;
  return inside(vcpu_offset::kSoftBudgets, 8);
}

constexpr size_t kNegatedSizeField = offsetof(SegmentAccess, negated_size),
                 kInsideField = offsetof(SegmentAccess, inside), kOutsideField = offsetof(SegmentAccess, outside);

/// Whether `offset` is that of a field of some segment's SegmentAccess.
bool IsSegmentField(int64_t offset, size_t field) {
  for (unsigned i = 0; i < kSegCount; ++i) {
    if (offset == vcpu_offset::Access(static_cast<Seg>(i), field)) return true;
  }
  return false;
}

bool IsStringSteps(int64_t offset) {
  for (unsigned log2 = 0; log2 < kStringSteps.size(); ++log2) {
    if (offset == vcpu_offset::StringSteps(log2)) return true;
  }
  return false;
}

/// Real and V86 mode: MOV to a segment register is a store of selector, base and the host address of offset 0.
bool MaySetSegment(const HostInstruction& insn, int64_t offset, unsigned bytes, const HostValue& value) {
  if (insn.info.mnemonic != ZYDIS_MNEMONIC_MOV) return false;
  for (unsigned i = 0; i < kSegCount; ++i) {
    const Seg s = static_cast<Seg>(i);
    if (s == Seg::kCs) continue;
    if (offset == vcpu_offset::SegmentSelector(s) && bytes == 2) return true;
    if (offset == vcpu_offset::SegmentBase(s) && bytes == 4) return true;
    if (offset == vcpu_offset::Access(s, kInsideField) && bytes == 8) return value.holds == Holds::kBiased;
  }
  return false;
}

/// What the fields of a SoftTlb, indexed by the page, hold.
HostValue SoftField(int64_t offset) {
  for (const bool user : {false, true}) {
    for (const bool write : {false, true}) {
      if (offset == vcpu_offset::SoftPages(user, write)) {
        return {Holds::kNegatedPage, SoftAccess{.user = user, .write = write}.Pack()};
      }
    }
    if (offset == vcpu_offset::SoftToHost(user)) return {Holds::kToHost, SoftAccess{.user = user}.Pack()};
  }
  return {};
}

bool MayIndexVcpu(const ZydisDecodedOperand& op, int64_t offset, const HostValue& index) {
  if (op.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) return false;
  if (index.holds == Holds::kByte) {
    return op.mem.scale == 8 && op.size == 64 && SoftField(offset).holds != Holds::kAnything;
  }
  if (index.holds == Holds::kBit) return op.mem.scale == 4 && op.size == 32 && IsStringSteps(offset);
  const bool table = IsSegmentField(offset, kOutsideField) || offset == vcpu_offset::BranchCheck(kOutsideField);
  return index.holds == Holds::kSide && op.mem.scale == 8 && op.size == 64 && table;
}

/// An access to the flat view must be no more than what was looked up, for the same privilege.
bool MayAccessFlat(const ZydisDecodedOperand& op, uint64_t to_host, uint64_t linear) {
  const SoftAccess access = SoftAccess::Unpack(linear);
  const bool write = op.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
  return SoftAccess::Unpack(to_host).user == access.user && op.size / 8 <= access.bytes && (access.write || !write);
}

HostValue ValueOf(ZydisRegister reg, const HostState& state) {
  const unsigned number = GeneralNumber(reg);
  return number == kNotGeneral ? HostValue{} : state.registers[number];
}

}  // namespace

unsigned GeneralNumber(ZydisRegister reg) {
  const ZydisRegister whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);
  if (ZydisRegisterGetClass(whole) != ZYDIS_REGCLASS_GPR64) return kNotGeneral;
  return static_cast<unsigned>(ZydisRegisterGetId(whole));
}

std::optional<std::string> Forbidden(const HostInstruction& insn) {
  const ZydisMnemonic mnemonic = insn.info.mnemonic;
  if (insn.info.attributes & ZYDIS_ATTRIB_IS_PRIVILEGED) return "is privileged";
  if (In(kExceptions, mnemonic) || !(AllowedCategory(insn.info.meta.category) || In(kAlsoAllowed, mnemonic))) {
    return "is not one that translated code may contain";
  }
  if (insn.info.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR) return "is a far branch";
  constexpr ZyanU64 kOtherSegments = ZYDIS_ATTRIB_HAS_SEGMENT & ~ZYDIS_ATTRIB_HAS_SEGMENT_GS;
  if (insn.info.attributes & kOtherSegments) return "has a segment prefix other than GS";
  for (unsigned i = 0; i < insn.info.operand_count; ++i) {
    const ZydisDecodedOperand& op = insn.operands[i];
    if (op.type == ZYDIS_OPERAND_TYPE_POINTER) return "has a far pointer";
    if (op.type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
    switch (ZydisRegisterGetClass(op.reg.value)) {
      case ZYDIS_REGCLASS_SEGMENT:
        if (op.visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN) break;  // of string instructions
        [[fallthrough]];
      case ZYDIS_REGCLASS_CONTROL:
      case ZYDIS_REGCLASS_DEBUG:
      case ZYDIS_REGCLASS_TEST:
      case ZYDIS_REGCLASS_TABLE:
      case ZYDIS_REGCLASS_BOUND:
      case ZYDIS_REGCLASS_TMM:
      case ZYDIS_REGCLASS_MASK:
        return "names a system register";
      default:
        break;
    }
  }
  return std::nullopt;
}

MemoryVerdict JudgeMemory(const HostInstruction& insn, const ZydisDecodedOperand& op, const HostState& state) {
  const auto bad = [](const char* why) { return MemoryVerdict{.problem = why}; };
  if (op.mem.type == ZYDIS_MEMOP_TYPE_AGEN) return {};
  const bool address32 = insn.info.address_width == 32;
  const HostValue base = ValueOf(op.mem.base, state), index = ValueOf(op.mem.index, state);
  const bool has_base = op.mem.base != ZYDIS_REGISTER_NONE, has_index = op.mem.index != ZYDIS_REGISTER_NONE;
  const bool write = op.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
  if (op.mem.base == ZYDIS_REGISTER_RIP || op.mem.base == ZYDIS_REGISTER_EIP) return bad("is relative to RIP");
  if (base.holds == Holds::kHostStack) {
    const bool implied = insn.Pushes() || insn.Pops() || insn.Calls() || insn.Returns();
    const bool stack = op.visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN && implied;
    return stack ? MemoryVerdict{Reaches::kHostStack} : bad("is on the host's stack");
  }
  if (insn.info.attributes & ZYDIS_ATTRIB_HAS_SEGMENT_GS) {
    const bool cut = address32 || (base.Is32Bits() && !has_index && op.mem.disp.value == 0);
    return cut ? MemoryVerdict{Reaches::kGuestMemory} : bad("adds GS.base to more than 32 bits");
  }
  if (op.mem.type == ZYDIS_MEMOP_TYPE_VSIB) return bad("adds vector elements that nothing cuts");
  if (address32) return bad("is cut to 32 bits but not in the window");
  if (has_index && op.mem.scale == 1 && index.holds == Holds::kWindow) {
    return base.Is32Bits() ? MemoryVerdict{Reaches::kGuestMemory} : bad("adds more than 32 bits to the window");
  }
  if (!has_base) return bad("is a host address");
  const int64_t displacement = op.mem.disp.has_displacement ? op.mem.disp.value : 0;
  switch (base.holds) {
    case Holds::kWindow:
      if (has_index && !index.Is32Bits()) return bad("adds more than 32 bits to the window");
      return {Reaches::kGuestMemory};
    case Holds::kBiased:
      return has_index ? bad("adds an index to a biased register") : MemoryVerdict{Reaches::kGuestMemory};
    case Holds::kVcpu: {
      const HostValue stored = ValueOf(insn.operands[1].reg.value, state);
      const bool allowed = has_index ? MayIndexVcpu(op, displacement, index)
                                     : MayAccessVcpu(displacement, op.size / 8, write) ||
                                           (write && MaySetSegment(insn, displacement, op.size / 8, stored));
      return allowed ? MemoryVerdict{Reaches::kVcpu} : bad("is not for blocks to access");
    }
    case Holds::kSegment: {
      constexpr int64_t kFarPointerOffset = 4;
      const bool inside =
          has_index && op.mem.scale == 1 && index.Is32Bits() && displacement >= 0 && displacement <= kFarPointerOffset;
      return inside ? MemoryVerdict{Reaches::kGuestMemory} : bad("adds more than 32 bits to a segment");
    }
    case Holds::kSegmentAddress:
      if (has_index || displacement) return bad("adds to an address in a segment");
      return {Reaches::kGuestMemory};
    case Holds::kSoftBudgets: {
      constexpr int64_t kMostBudgets = 1 << 12;
      const bool budget = !has_index && displacement >= 0 && op.size == 32 &&
                          displacement < kMostBudgets * static_cast<int64_t>(sizeof(SoftBudget));
      return budget ? MemoryVerdict{Reaches::kVcpu} : bad("is no budget of a soft site");
    }
    case Holds::kToHost: {
      const bool looked_up = index.holds == Holds::kSoftLinear && op.mem.scale == 1 && displacement == 0 &&
                             MayAccessFlat(op, base.constant, index.constant);
      return looked_up ? MemoryVerdict{Reaches::kGuestMemory} : bad("is more than was looked up");
    }
    case Holds::kSoftAddress: {
      const bool looked_up = !has_index && displacement == 0 && MayAccessFlat(op, base.constant, base.constant);
      return looked_up ? MemoryVerdict{Reaches::kGuestMemory} : bad("is more than was looked up");
    }
    case Holds::kReadable:
      if (has_index || displacement || write) return bad("is not for blocks to access");
      return {Reaches::kGuestMemory};  // or a fault
    case Holds::kBranchTable:
      if (write || displacement || !index.Is32Bits() || op.mem.scale != 4 || op.size != 32) {
        return bad("is no slot of the branch table");
      }
      return {Reaches::kBranchTable};
    case Holds::kConstant:
      if (has_index) return bad("is a host address with an index");
      return {Reaches::kAbsolute, base.constant + static_cast<uint64_t>(displacement), {}};
    default:
      return bad("has a base that may hold anything");
  }
}

HostValue Loaded(const ZydisDecodedOperand& op, const HostState& state) {
  if (ValueOf(op.mem.base, state).holds != Holds::kVcpu || !op.mem.disp.has_displacement) return {};
  const int64_t offset = op.mem.disp.value;
  if (op.mem.index != ZYDIS_REGISTER_NONE) {
    if (const HostValue soft = SoftField(offset); soft.holds != Holds::kAnything) return soft;
    return {offset == vcpu_offset::BranchCheck(kOutsideField) ? Holds::kReadable : Holds::kSegment};
  }
  if (offset == vcpu_offset::kSoftBudgets) return {Holds::kSoftBudgets};
  const bool size = IsSegmentField(offset, kNegatedSizeField) || offset == vcpu_offset::BranchCheck(kNegatedSizeField);
  return size ? HostValue{Holds::kNegatedSize} : HostValue{};
}

}  // namespace ring3
