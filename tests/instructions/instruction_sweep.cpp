// Every encoding of the opcode maps that needs no segment or table of the host's, in register forms and all addressing
// forms, translated at CPL 3 and CPL 0 against the processor. Every row of the instruction table has to come by.
#include <Zydis/Zydis.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>

#include "tests/instructions/trials.h"
#include "tests/oracle/comparable.h"
#include "translator/decode.h"

using namespace ring3;

namespace {

/// Instructions that the processor cannot be asked about, each group with its reason. They have tests of their own.
bool Excluded(const GuestInstruction& insn) {
  if (IsHostSpecific(insn.info.mnemonic)) return true;
  switch (insn.info.mnemonic) {
    // Depend on the host's descriptor tables and rights, which at CPL 0 differ from the guest's.
    case ZYDIS_MNEMONIC_LGDT:
    case ZYDIS_MNEMONIC_LIDT:
    case ZYDIS_MNEMONIC_CLI:
    case ZYDIS_MNEMONIC_STI:
    case ZYDIS_MNEMONIC_POPF:
    case ZYDIS_MNEMONIC_POPFD:
    case ZYDIS_MNEMONIC_IN:
    case ZYDIS_MNEMONIC_OUT:
    case ZYDIS_MNEMONIC_INSB:
    case ZYDIS_MNEMONIC_INSW:
    case ZYDIS_MNEMONIC_INSD:
    case ZYDIS_MNEMONIC_OUTSB:
    case ZYDIS_MNEMONIC_OUTSW:
    case ZYDIS_MNEMONIC_OUTSD:
      return true;
    default:
      break;
  }
  if (insn.info.attributes & ZYDIS_ATTRIB_IS_PRIVILEGED || IsLoopWithRepeat(insn.info)) return true;
  // To selectors of noise: the host's descriptor table is not the guest's.
  if (insn.info.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR) return true;
  // Targets cut to 16 bits: no program can be placed there natively.
  if (insn.info.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE && insn.info.operand_width == 16) return true;
  // Into noise, or in circles.
  const bool jumps = insn.info.mnemonic == ZYDIS_MNEMONIC_JMP || insn.info.mnemonic == ZYDIS_MNEMONIC_CALL;
  if (jumps && insn.operands[0].type != ZYDIS_OPERAND_TYPE_IMMEDIATE) return true;
  if (insn.info.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE && insn.info.raw.imm[0].is_relative &&
      insn.BranchTarget() == insn.eip) {
    return true;
  }
  // The processor executes TZCNT and LZCNT, which our models don't have.
  const bool scan = insn.info.mnemonic == ZYDIS_MNEMONIC_BSF || insn.info.mnemonic == ZYDIS_MNEMONIC_BSR;
  if (scan && insn.bytes[0] != 0x0F && insn.bytes[0] != 0x66) return true;
  for (unsigned i = 0; i < insn.info.operand_count; ++i) {
    const ZydisDecodedOperand& op = insn.operands[i];
    if (op.type != ZYDIS_OPERAND_TYPE_REGISTER || op.visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN) continue;
    if (ZydisRegisterGetClass(op.reg.value) == ZYDIS_REGCLASS_SEGMENT) return true;
  }
  return false;
}

class Sweep {
 public:
  Sweep() { trials_.seeds = 1; }

  /// Runs the first instruction of `code`, unless it is excluded or was run before.
  void Try(Bytes code) {
    GuestInstruction insn;
    if (decoder_.Decode(code, 0, insn) != DecodeStatus::kOk) return;
    if (!OfferedByMax(insn.info.meta.isa_set) || Excluded(insn)) return;
    code.resize(insn.length);
    if (!tried_.insert(code).second) return;
    seen_.insert(insn.info.mnemonic);
    const uint32_t seed = static_cast<uint32_t>(tried_.size());
    const Program program = MakeProgram(code, seed, seed % 2 ? 3 : 0);
    trials_.Compare(ZydisMnemonicGetString(insn.info.mnemonic), program, Reference::kNative,
                    {.flags = Undefined(insn)});
  }

  /// All reg fields with some operands, some reg fields with all operands.
  void TryModRmForms(const Bytes& opcode, bool brief) {
    constexpr uint8_t kEbxForm = 0x03, kSomeRegs[] = {1, 4, 5};
    for (uint8_t reg = 0; reg < 8; ++reg) {
      const auto r = static_cast<uint8_t>(reg << 3);
      Try(With(opcode, {static_cast<uint8_t>(kEbxForm | r)}));
      for (uint8_t rm : kSomeRegs) Try(With(opcode, {static_cast<uint8_t>(0xC0 | r | rm)}));
      if (brief) continue;
      Try(With(opcode, {static_cast<uint8_t>(0x44 | r), 0x24, 0x10}));  // [esp + 16]
      Try(With(opcode, {static_cast<uint8_t>(0x45 | r), 0xE0}));        // [ebp - 32]
    }
    if (brief) return;
    for (uint8_t reg : {1, 4}) {
      const auto r = static_cast<uint8_t>(reg << 3);
      Try(With(opcode, {static_cast<uint8_t>(0x47 | r), 0xF1}));                          // [edi - 15]
      Try(With(opcode, {static_cast<uint8_t>(0x84 | r), 0x26, 0x40, 0, 0, 0}));           // [esi + 64]
      Try(With(opcode, {static_cast<uint8_t>(0x44 | r), 0xCB, 0x10}));                    // [ebx + ecx*8 + 16]
      Try(With(opcode, {static_cast<uint8_t>(0x04 | r), 0x0C}));                          // [esp + ecx]
      Try(With(opcode, {static_cast<uint8_t>(0x84 | r), 0x4D, 0x10, 0xFF, 0xFF, 0xFF}));  // [ebp + ecx*2 - 240]
      Try(With(opcode, {static_cast<uint8_t>(0x04 | r), 0x8D, 0x00, 0x10, 0x01, 0x10}));  // [ecx*4 + kData + 4096]
      Try(With(opcode, {static_cast<uint8_t>(0x05 | r), 0x40, 0x10, 0x01, 0x10}));        // [kData + 4160]
    }
  }

  void SweepMap(const Bytes& escape, const std::vector<Bytes>& prefixes, bool brief) {
    for (const Bytes& prefix : prefixes) {
      for (unsigned opcode = 0; opcode < 256; ++opcode) {
        if (escape.empty() ? IsPrefix(opcode) || opcode == kTwoByteEscape : opcode == 0x38 || opcode == 0x3A) continue;
        Bytes code = prefix;
        code.insert(code.end(), escape.begin(), escape.end());
        code.push_back(static_cast<uint8_t>(opcode));
        TryModRmForms(code, brief);
      }
    }
  }

  void Report(unsigned at_least) const { trials_.Report(at_least); }
  const std::set<ZydisMnemonic>& Seen() const { return seen_; }

 private:
  /// Immediates: small and positive, so that relative branches stay in the code region.
  static Bytes With(Bytes code, std::initializer_list<uint8_t> operand) {
    code.insert(code.end(), operand);
    code.insert(code.end(), {0x05, 0x00, 0x00, 0x00, 0, 0, 0, 0});
    return code;
  }
  /// Flags that the monitor computes for instructions that 64-bit mode lacks, and that the SDM leaves undefined.
  static uint32_t Undefined(const GuestInstruction& insn) {
    switch (insn.info.mnemonic) {
      case ZYDIS_MNEMONIC_AAA:
      case ZYDIS_MNEMONIC_AAS:
      case ZYDIS_MNEMONIC_AAD:
      case ZYDIS_MNEMONIC_AAM:
      case ZYDIS_MNEMONIC_DAA:
      case ZYDIS_MNEMONIC_DAS:
        return insn.info.cpu_flags->undefined;
      default:
        return 0;
    }
  }
  static constexpr uint8_t kTwoByteEscape = 0x0F;
  static bool IsPrefix(unsigned byte) {
    constexpr uint8_t kPrefixes[] = {0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3};
    return std::find(std::begin(kPrefixes), std::end(kPrefixes), byte) != std::end(kPrefixes);
  }

  Decoder decoder_;
  Trials trials_;
  std::set<Bytes> tried_;
  std::set<ZydisMnemonic> seen_;
};

/// Rows that the sweeps leave to other tests.
bool TestedElsewhere(ZydisMnemonic mnemonic) {
  constexpr ZydisMnemonic kElsewhere[] = {ZYDIS_MNEMONIC_CLI,       ZYDIS_MNEMONIC_STI,   ZYDIS_MNEMONIC_POPF,
                                          ZYDIS_MNEMONIC_POPFD,     ZYDIS_MNEMONIC_RDTSC, ZYDIS_MNEMONIC_PAUSE,
                                          ZYDIS_MNEMONIC_MASKMOVDQU, ZYDIS_MNEMONIC_FXSAVE};
  return std::find(std::begin(kElsewhere), std::end(kElsewhere), mnemonic) != std::end(kElsewhere);
}

}  // namespace

TEST_CASE("one- and two-byte opcodes do what the processor does, and every row of the table is among them") {
  Sweep sweep;
  sweep.SweepMap({}, {{}, {0x66}}, false);
  sweep.SweepMap({0x0F}, {{}}, false);
  sweep.Report(9000);
#define RING3_INSTRUCTION(mnemonic, cls)                                                  \
  if (!TestedElsewhere(ZYDIS_MNEMONIC_##mnemonic)) {                                      \
    CHECKED_ELSE(sweep.Seen().contains(ZYDIS_MNEMONIC_##mnemonic)) FAIL_CHECK(#mnemonic); \
  }
#define RING3_EXTENSION(extension, unit, cls)
#include "translator/instructions.def"
#undef RING3_INSTRUCTION
#undef RING3_EXTENSION
}

TEST_CASE("prefixed two-byte opcodes do what the processor does") {
  Sweep sweep;
  sweep.SweepMap({0x0F}, {{0x66}, {0xF2}, {0xF3}}, true);
  sweep.Report(3000);
}

TEST_CASE("three-byte opcodes do what the processor does") {
  Sweep sweep;
  sweep.SweepMap({0x0F, 0x38}, {{}, {0x66}, {0xF2}}, true);
  sweep.SweepMap({0x0F, 0x3A}, {{}, {0x66}}, true);
  sweep.Report(1000);
}

TEST_CASE("prefixes without a meaning change nothing") {
  Sweep sweep;
  sweep.SweepMap({}, {{0xF2}, {0xF3}, {0x66, 0xF3}, {0x66, 0x66, 0x66}}, true);
  sweep.SweepMap({0x0F}, {{0x66, 0x66, 0x3E}, {0xF2, 0xF3}}, true);
  sweep.Report(4000);
}

TEST_CASE("all x87 register forms do what the processor does") {
  Sweep sweep;
  for (unsigned opcode = 0xD8; opcode <= 0xDF; ++opcode) {
    for (unsigned modrm = 0xC0; modrm <= 0xFF; ++modrm) {
      sweep.Try({static_cast<uint8_t>(opcode), static_cast<uint8_t>(modrm)});
    }
  }
  sweep.Report(300);
}
