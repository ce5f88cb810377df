// What is left out of the comparison of single instructions with the processor, each with its reason.
#include <cpuid.h>

#include <algorithm>
#include <cstring>

#include "tests/instructions/trial_builder.h"
#include "tests/oracle/comparable.h"

namespace ring3 {
namespace {

bool HostIsAmd() {
  uint32_t eax, ebx, ecx, edx;
  constexpr uint32_t kAuth = 0x6874'7541;  // "Auth", of "AuthenticAMD"
  return __get_cpuid(0, &eax, &ebx, &ecx, &edx) && ebx == kAuth;
}

bool Is(const ZydisDecodedInstruction& insn, std::initializer_list<ZydisMnemonic> mnemonics) {
  for (ZydisMnemonic m : mnemonics) {
    if (insn.mnemonic == m) return true;
  }
  return false;
}

bool LoadsSegment(const SingleTrial& t) {
  if (t.insn.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR) return true;
  for (unsigned i = 0; i < t.insn.operand_count; ++i) {
    const ZydisDecodedOperand& op = t.operands[i];
    const bool written = op.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
    if (op.type == ZYDIS_OPERAND_TYPE_REGISTER && written &&
        ZydisRegisterGetClass(op.reg.value) == ZYDIS_REGCLASS_SEGMENT) {
      return true;
    }
  }
  return false;
}

const char* EntersKernel(const ZydisDecodedInstruction& insn) {
  constexpr uint64_t kLinuxSystemCall = 0x80;
  if (insn.mnemonic == ZYDIS_MNEMONIC_INT && insn.raw.imm[0].value.u == kLinuxSystemCall) {
    return "a system call of the host";
  }
  if (Is(insn, {ZYDIS_MNEMONIC_SYSENTER, ZYDIS_MNEMONIC_SYSCALL})) return "a system call of the host";
  return nullptr;
}

bool HasByte(const ZydisDecodedInstruction& insn, uint8_t prefix) {
  for (unsigned i = 0; i < insn.raw.prefix_count; ++i) {
    if (insn.raw.prefixes[i].value == prefix) return true;
  }
  return false;
}

const char* HostsOwn(const ZydisDecodedInstruction& insn) {
  if (Is(insn,
         {ZYDIS_MNEMONIC_SGDT, ZYDIS_MNEMONIC_SIDT, ZYDIS_MNEMONIC_SLDT, ZYDIS_MNEMONIC_STR, ZYDIS_MNEMONIC_SMSW})) {
    return "stores the host's registers, or what its kernel puts in their place (UMIP)";
  }
  if (Is(insn, {ZYDIS_MNEMONIC_CPUID, ZYDIS_MNEMONIC_RDTSC, ZYDIS_MNEMONIC_RDTSCP, ZYDIS_MNEMONIC_RDPMC,
                ZYDIS_MNEMONIC_RDRAND, ZYDIS_MNEMONIC_RDSEED, ZYDIS_MNEMONIC_RDPID, ZYDIS_MNEMONIC_XGETBV})) {
    return "the model's values are not the host's, or never the same";
  }
  if (insn.mnemonic == ZYDIS_MNEMONIC_INT1) return "hypervisors report it as a fault";
  const bool scan = Is(insn, {ZYDIS_MNEMONIC_BSF, ZYDIS_MNEMONIC_BSR});
  if (scan && (insn.attributes & ZYDIS_ATTRIB_HAS_REP || HasByte(insn, 0xF3))) return "the host has TZCNT and LZCNT";
  return nullptr;
}

/// Where AMD's processors and Intel's, which the CPU models are, differ in what the SDM leaves open or says otherwise.
const char* VendorsDiffer(const SingleTrial& t) {
  if (!HostIsAmd()) return nullptr;
  if (IsLoopWithRepeat(t.insn)) return "AMD: LOOPE and LOOPNE take their condition from a repeat prefix";
  return nullptr;
}

constexpr uint32_t kLongest = 15;

/// Last EIP that the code segment has.
uint32_t SegmentEnd(const SingleTrial& t) {
  const Segmentation& s = *t.program.segmentation;
  return s.Load(s.selectors[static_cast<unsigned>(Seg::kCs)], t.program.cpl).limit;
}

const char* UndefinedLength(const SingleTrial& t) {
  constexpr unsigned kMostPrefixes = 4;
  const bool whole = t.program.offset + kLongest <= guest::kCodeBytes && SegmentEnd(t) - t.program.Start() >= kLongest;
  if (!whole || t.prefixes > kMostPrefixes) return "how long an undefined encoding is, is the processor's own business";
  const Bytes& code = t.program.code;
  const bool control = code[t.prefixes] == 0x0F && (code[t.prefixes + 1] == 0x20 || code[t.prefixes + 1] == 0x22);
  const auto opcode = code.begin() + t.prefixes;
  const bool lock = std::find(code.begin(), opcode, 0xF0) != opcode;
  if (!lock || !HostIsAmd()) return nullptr;
  if (control) return "AMD: LOCK MOV CR0 is MOV CR8";
  const bool verw = opcode[0] == 0x0F && opcode[1] == 0 && (opcode[2] >> 3 & 7) == 5;
  return verw ? "AMD: LOCK VERW is VERW" : nullptr;
}

}  // namespace

uint32_t UndefinedFlags(uint16_t mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_AAA:
    case ZYDIS_MNEMONIC_AAS:
      return eflags::kOf | eflags::kSf | eflags::kZf | eflags::kPf;
    case ZYDIS_MNEMONIC_AAD:
    case ZYDIS_MNEMONIC_AAM:
      return eflags::kOf | eflags::kAf | eflags::kCf;
    case ZYDIS_MNEMONIC_DAA:
    case ZYDIS_MNEMONIC_DAS:
      return eflags::kOf;
    default:
      return 0;
  }
}

const char* Incomparable(const SingleTrial& t) {
  if (!t.decoded) return UndefinedLength(t);
  if (!OfferedByMax(t.insn.meta.isa_set)) return "#UD to the model, something else to the host";
  const auto& immediate = t.insn.raw.imm[0];
  const int64_t distance = immediate.is_relative ? immediate.value.s : 0;
  if (distance < 0 && distance >= -t.insn.length) return "branches into itself and may run for ever";
  if (const char* reason = EntersKernel(t.insn)) return reason;
  if (const char* reason = HostsOwn(t.insn)) return reason;
  if (const char* reason = VendorsDiffer(t)) return reason;
  if (t.program.cpl == 0) {
    if (t.insn.attributes & ZYDIS_ATTRIB_IS_PRIVILEGED || Is(t.insn, {ZYDIS_MNEMONIC_LGDT, ZYDIS_MNEMONIC_LIDT}))
      return "allowed at CPL 0, and native runs are at CPL 3";
    if (Is(t.insn, {ZYDIS_MNEMONIC_CLI, ZYDIS_MNEMONIC_STI, ZYDIS_MNEMONIC_POPF, ZYDIS_MNEMONIC_POPFD,
                    ZYDIS_MNEMONIC_IN, ZYDIS_MNEMONIC_OUT, ZYDIS_MNEMONIC_INSB, ZYDIS_MNEMONIC_INSW,
                    ZYDIS_MNEMONIC_INSD, ZYDIS_MNEMONIC_OUTSB, ZYDIS_MNEMONIC_OUTSW, ZYDIS_MNEMONIC_OUTSD})) {
      return "depends on IOPL, and native runs are at CPL 3";
    }
    if (LoadsSegment(t) || Is(t.insn, {ZYDIS_MNEMONIC_LAR, ZYDIS_MNEMONIC_LSL, ZYDIS_MNEMONIC_VERR, ZYDIS_MNEMONIC_VERW,
                                       ZYDIS_MNEMONIC_ARPL, ZYDIS_MNEMONIC_IRET, ZYDIS_MNEMONIC_IRETD})) {
      return "checks privileges, and native runs are at CPL 3";
    }
    if (Is(t.insn, {ZYDIS_MNEMONIC_PUSH, ZYDIS_MNEMONIC_CALL, ZYDIS_MNEMONIC_MOV, ZYDIS_MNEMONIC_INT})) {
      for (unsigned i = 0; i < t.insn.operand_count_visible; ++i) {
        const ZydisDecodedOperand& op = t.operands[i];
        if (op.type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(op.reg.value) == ZYDIS_REGCLASS_SEGMENT) {
          return "stores a selector, whose privilege natively is 3";
        }
      }
    }
    if (t.insn.mnemonic == ZYDIS_MNEMONIC_INT) return "goes through a gate that CPL 3 may not use";
  }
  return nullptr;
}

}  // namespace ring3
