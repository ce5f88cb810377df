// Every encoding of the opcode maps that needs no privilege, in register and memory forms, against the processor.
#include <Zydis/Zydis.h>

#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/interpreter/oracle_comparison.h"
#include "tests/oracle/comparable.h"

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
  static const ZydisDecoder decoder = [] {
    ZydisDecoder d;
    ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
    return d;
  }();
  ZydisDecodedInstruction insn;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
  if (ZYAN_FAILED(ZydisDecoderDecodeFull(&decoder, code.data(), code.size(), &insn, operands))) return 0;
  if (!OfferedByMax(insn.meta.isa_set) || insn.address_width != 32) return 0;
  return Excluded(insn, operands) ? 0 : insn.length;
}

/// Appends SIB, displacement and immediate bytes after a ModRM byte.
Bytes Form(const Bytes& prefix_and_opcode, uint8_t modrm, const Bytes& tail) {
  Bytes code = prefix_and_opcode;
  code.push_back(modrm);
  code.insert(code.end(), tail.begin(), tail.end());
  // Immediates: small and positive, so that relative branches stay in the code page.
  code.insert(code.end(), {0x05, 0x00, 0x00, 0x00});
  return code;
}

struct Sweep {
  Machine machine;
  unsigned compared = 0, failed = 0;
  std::string report;

  /// Bytes after the instruction are dropped; the rest of the page is breakpoints.
  void Try(Bytes code, unsigned seeds) {
    code.resize(ComparableLength(code));
    if (code.empty()) return;
    for (unsigned seed = 1; seed <= seeds; ++seed) {
      const std::string difference = Compare(machine, MakeTrial(code, seed * 7919 + code[0]));
      ++compared;
      if (difference.empty()) continue;
      if (++failed <= 40) report += difference;
      break;
    }
  }

  void TryModRmForms(const Bytes& opcode, unsigned seeds) {
    for (unsigned reg = 0; reg < 8; ++reg) {
      const auto r = static_cast<uint8_t>(reg << 3);
      Try(Form(opcode, 0xC0 | r | 1, {}), seeds);                                           // ecx and friends
      Try(Form(opcode, 0xC0 | r | 4, {}), seeds);                                           // esp, or ah
      Try(Form(opcode, static_cast<uint8_t>(0x00 | r | 3), {}), seeds);                     // [ebx], 16-byte aligned
      Try(Form(opcode, static_cast<uint8_t>(0x40 | r | 7), {0xF1}), seeds);                 // [edi - 15]
      Try(Form(opcode, static_cast<uint8_t>(0x80 | r | 4), {0x26, 0x40, 0, 0, 0}), seeds);  // [esi + 64]
    }
    Try(Form(opcode, 0x44, {0x24, 0x10}), seeds);              // [esp + 16]
    Try(Form(opcode, 0x05, {0x40, 0x00, 0x01, 0x01}), seeds);  // [disp32]
  }
};

bool IsPrefix(unsigned byte) {
  constexpr uint8_t kPrefixes[] = {0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3};
  return std::find(std::begin(kPrefixes), std::end(kPrefixes), byte) != std::end(kPrefixes);
}

void SweepMap(Sweep& sweep, const Bytes& escape, const std::vector<Bytes>& prefixes, unsigned seeds) {
  for (const Bytes& prefix : prefixes) {
    for (unsigned opcode = 0; opcode < 256; ++opcode) {
      if (escape.empty() && IsPrefix(opcode)) continue;
      Bytes code = prefix;
      code.insert(code.end(), escape.begin(), escape.end());
      code.push_back(static_cast<uint8_t>(opcode));
      sweep.TryModRmForms(code, seeds);
    }
  }
}

void Report(const Sweep& sweep, unsigned at_least) {
  INFO(sweep.failed << " encodings differ\n" << sweep.report);
  CHECK(sweep.failed == 0);
  CHECK(sweep.compared > at_least);
}

}  // namespace

TEST_CASE("one-byte opcodes do what the processor does") {
  Sweep sweep;
  SweepMap(sweep, {}, {{}, {0x66}}, 2);
  Report(sweep, 5000);
}

TEST_CASE("repeated string instructions do what the processor does") {
  Sweep sweep;
  for (uint8_t prefix : {0xF2, 0xF3}) {
    for (uint8_t opcode : {0xA4, 0xA5, 0xA6, 0xA7, 0xAA, 0xAB, 0xAC, 0xAD, 0xAE, 0xAF}) {
      for (unsigned seed = 1; seed <= 40; ++seed) {
        for (const Bytes& code : {Bytes{prefix, opcode}, Bytes{0x66, prefix, opcode}}) {
          Trial trial = MakeTrial(code, seed);
          trial.gpr[kEcx] = seed % 8 == 0 ? 0 : seed * 3;
          if (seed % 5 == 0) trial.gpr[kEdi] = trial.gpr[kEsi] + seed % 7;  // overlapping
          const std::string difference = Compare(sweep.machine, trial);
          ++sweep.compared;
          if (!difference.empty() && ++sweep.failed <= 10) sweep.report += difference;
        }
      }
    }
  }
  Report(sweep, 1000);
}

TEST_CASE("two-byte opcodes do what the processor does") {
  Sweep sweep;
  SweepMap(sweep, {0x0F}, {{}, {0x66}, {0xF2}, {0xF3}}, 1);
  Report(sweep, 5000);
}

TEST_CASE("three-byte opcodes do what the processor does") {
  Sweep sweep;
  SweepMap(sweep, {0x0F, 0x38}, {{}, {0x66}, {0xF2}}, 2);
  SweepMap(sweep, {0x0F, 0x3A}, {{}, {0x66}}, 2);
  Report(sweep, 1000);
}

TEST_CASE("all x87 register forms do what the processor does") {
  Sweep sweep;
  for (unsigned opcode = 0xD8; opcode <= 0xDF; ++opcode) {
    for (unsigned modrm = 0xC0; modrm <= 0xFF; ++modrm) {
      sweep.Try({static_cast<uint8_t>(opcode), static_cast<uint8_t>(modrm)}, 5);
    }
  }
  Report(sweep, 1500);
}

TEST_CASE("alignment is checked as the processor does") {
  Sweep sweep;
  const auto try_skews = [&](const Bytes& opcode) {
    for (unsigned reg = 0; reg < 8; ++reg) {
      Bytes code = Form(opcode, static_cast<uint8_t>(reg << 3 | 3), {});  // [ebx]
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
        const unsigned length = ComparableLength(Form(plain, modrm, {}));
        const bool moves_control = op[1] == 0x0F && (opcode == 0x20 || opcode == 0x22);  // AMD: CR8, not #UD
        if (length == 0 || moves_control) continue;
        Bytes code = Form(op, modrm, {});
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
