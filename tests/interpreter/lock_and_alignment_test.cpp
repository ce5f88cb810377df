// Alignment checks and LOCK prefixes on every encoding that needs no privilege, against the processor. The instructions
// themselves are compared in tests/instructions.
#include <Zydis/Zydis.h>

#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/interpreter/oracle_comparison.h"
#include "tests/oracle/comparable.h"
#include "tests/oracle/guest_decoding.h"

using namespace ring3;

namespace {

using Bytes = std::vector<uint8_t>;

/// Instructions that the comparison cannot cover, each with its reason; they have tests of their own.
bool Excluded(const ZydisDecodedInstruction& insn, const ZydisDecodedOperand* operands) {
  if (IsHostSpecific(insn.mnemonic) || IsLoopWithRepeat(insn)) return true;
  switch (insn.mnemonic) {
    // The stack holds noise: TF would be set at random.
    case ZYDIS_MNEMONIC_POPF:
    case ZYDIS_MNEMONIC_POPFD:
      return true;
    // Targets are noise, outside the mapped code: control flow has its own test.
    case ZYDIS_MNEMONIC_RET:
      return true;
    case ZYDIS_MNEMONIC_CALL:
    case ZYDIS_MNEMONIC_JMP:
      return operands[0].type != ZYDIS_OPERAND_TYPE_IMMEDIATE;
    default:
      break;
  }
  if (insn.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE && insn.operand_width == 16) return true;  // below 64 KiB
  for (unsigned i = 0; i < insn.operand_count; ++i) {
    if (operands[i].type != ZYDIS_OPERAND_TYPE_REGISTER || operands[i].visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN) {
      continue;
    }
    const ZydisRegisterClass kind = ZydisRegisterGetClass(operands[i].reg.value);
    if (kind == ZYDIS_REGCLASS_SEGMENT) return true;
  }
  return false;
}

/// Length of the instruction that `code` begins with, if the processor and the "max" model agree that it exists and it
/// can be compared; otherwise 0.
unsigned ComparableLength(const Bytes& code) {
  const auto decoding = DecodeGuestCode(code);
  if (!decoding) return 0;
  const ZydisDecodedInstruction& insn = decoding->insn;
  if (!OfferedByMax(insn.meta.isa_set) || insn.address_width != 32) return 0;
  return Excluded(insn, decoding->operands) ? 0 : insn.length;
}

/// Appends a ModRM byte and immediate bytes.
Bytes Form(const Bytes& prefix_and_opcode, uint8_t modrm) {
  Bytes code = prefix_and_opcode;
  code.push_back(modrm);
  // Immediates: small and positive, so that relative branches stay in the code page.
  code.insert(code.end(), {0x05, 0x00, 0x00, 0x00});
  return code;
}

struct Sweep {
  Machine machine;
  unsigned compared = 0, failed = 0;
  std::string report;
};

bool IsPrefix(unsigned byte) {
  constexpr uint8_t kPrefixes[] = {0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3};
  return std::find(std::begin(kPrefixes), std::end(kPrefixes), byte) != std::end(kPrefixes);
}

void Report(const Sweep& sweep, unsigned at_least) {
  INFO(sweep.failed << " encodings differ\n" << sweep.report);
  CHECK(sweep.failed == 0);
  CHECK(sweep.compared > at_least);
}

}  // namespace

TEST_CASE("alignment is checked as the processor does") {
  Sweep sweep;
  const auto try_skews = [&](const Bytes& opcode) {
    for (unsigned reg = 0; reg < 8; ++reg) {
      Bytes code = Form(opcode, static_cast<uint8_t>(reg << 3 | 3));  // [ebx]
      code.resize(ComparableLength(code));
      if (code.empty()) continue;
      for (const uint32_t skew : {0u, 1u, 2u, 4u, 8u}) {
        // Whether FXSAVE and FXRSTOR raise #AC or #GP is the implementation's choice.
        if (opcode == Bytes{0x0F, 0xAE} && reg < 2) continue;
        Trial trial = MakeTrial(code, opcode.back() + skew);
        trial.eflags |= eflags::kAc;
        for (const Gpr gpr : {kEbx, kEsp, kEsi, kEdi}) trial.gpr[gpr] = (trial.gpr[gpr] & ~0xFu) + skew;
        const std::string difference = Compare(sweep.machine, trial);
        ++sweep.compared;
        if (!difference.empty() && ++sweep.failed <= 40) sweep.report += difference;
      }
    }
  };
  for (unsigned opcode = 0; opcode < 256; ++opcode) {
    const auto byte = static_cast<uint8_t>(opcode);
    if (!IsPrefix(opcode)) {
      try_skews({byte});
      try_skews({0x66, byte});
    }
    try_skews({0x0F, byte});
    try_skews({0x66, 0x0F, byte});
    try_skews({0xF2, 0x0F, byte});
    try_skews({0xF3, 0x0F, byte});
  }
  Report(sweep, 5000);
}

TEST_CASE("lock prefixes are accepted and refused as the processor does") {
  Sweep sweep;
  for (unsigned opcode = 0; opcode < 256; ++opcode) {
    // The decoder refuses most of these, so they are compared whatever it says; F0 needs no further bytes to differ.
    for (const Bytes& op :
         {Bytes{0xF0, static_cast<uint8_t>(opcode)}, Bytes{0xF0, 0x0F, static_cast<uint8_t>(opcode)}}) {
      Bytes plain(op.begin() + 1, op.end());
      for (uint8_t modrm : {0x03, 0xC1, 0x0B, 0x23, 0x33}) {
        const unsigned length = ComparableLength(Form(plain, modrm));
        const bool moves_control = op[1] == 0x0F && (opcode == 0x20 || opcode == 0x22);  // AMD: CR8, not #UD
        if (length == 0 || moves_control) continue;
        Bytes code = Form(op, modrm);
        code.resize(length + 1);
        const Trial trial = MakeTrial(code, opcode);
        const std::string difference = Compare(sweep.machine, trial);
        ++sweep.compared;
        if (!difference.empty() && ++sweep.failed <= 40) sweep.report += difference;
      }
    }
  }
  Report(sweep, 500);
}
