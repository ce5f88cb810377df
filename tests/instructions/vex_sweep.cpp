// The VEX opcode maps with each W, L and vvvv that decides whether an encoding exists, in register forms and addressing
// forms, translated at CPL 3 and CPL 0 against the processor and the interpreter.
#include <Zydis/Zydis.h>

#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "tests/instructions/trials.h"
#include "tests/oracle/comparable.h"
#include "tests/oracle/guest_decoding.h"

using namespace ring3;

namespace {

constexpr uint8_t kNoVvvv = 0xF;

/// A VEX instruction before its ModRM byte; vvvv is as encoded, inverted.
struct Vex {
  uint8_t map = 1, pp = 0, opcode = 0;
  bool w = false, l = false;
  uint8_t vvvv = kNoVvvv;

  Bytes Long(uint8_t inverted_rxb = 7) const {
    return {0xC4, static_cast<uint8_t>(inverted_rxb << 5 | map), static_cast<uint8_t>(w << 7 | vvvv << 3 | l << 2 | pp),
            opcode};
  }
  Bytes Short() const { return {0xC5, static_cast<uint8_t>(0x80 | vvvv << 3 | l << 2 | pp), opcode}; }
};

Bytes Join(Bytes code, const Bytes& tail) {
  code.insert(code.end(), tail.begin(), tail.end());
  return code;
}

/// Where processors of different makers disagree, our models follow Intel's manual, whose name they bear. AMD's execute
/// VPERMQ and VPERMPD without W, and have no VPINSRD and VPEXTRD with it.
bool MakersDisagree(const Bytes& code) {
  const uint8_t opcode = code[3];
  const bool w = code[2] & 0x80, map3_66 = code[0] == 0xC4 && (code[1] & 0x1F) == 3 && (code[2] & 3) == 1;
  return map3_66 && (w ? opcode == 0x16 || opcode == 0x22 : opcode <= 1);
}

enum class Existence : uint8_t { kNot, kOffered, kForeign };

struct Decoding {
  Existence existence = Existence::kNot;
  ZydisMnemonic mnemonic = ZYDIS_MNEMONIC_INVALID;
  unsigned length = 0;
  bool general_registers = false, gather = false;
};

Decoding Decode(const Bytes& code) {
  const auto decoding = DecodeGuestCode(code);
  if (!decoding) return {};
  const ZydisDecodedInstruction& insn = decoding->insn;
  Decoding d{.existence = OfferedByMax(insn.meta.isa_set) ? Existence::kOffered : Existence::kForeign,
             .mnemonic = insn.mnemonic,
             .length = insn.length};
  d.general_registers = insn.meta.isa_set == ZYDIS_ISA_SET_BMI1 || insn.meta.isa_set == ZYDIS_ISA_SET_BMI2;
  d.gather = insn.meta.isa_set == ZYDIS_ISA_SET_AVX2GATHER;
  return d;
}

const Bytes kImmediate = {0x05, 0x00, 0x00, 0x00, 0, 0, 0, 0};

class VexSweep {
 public:
  VexSweep() { trials_.seeds = 1; }

  /// `ud`: encodings that do not exist are run, too.
  void Try(const Bytes& start, const Bytes& operand, Reference reference, bool ud) {
    Bytes code = Join(Join(start, operand), kImmediate);
    const Decoding decoded = Decode(code);
    if (decoded.existence == Existence::kForeign || (decoded.existence == Existence::kNot && !ud)) return;
    if (MakersDisagree(code)) return;
    // Indices are noise here; gathers have tests of their own.
    if (decoded.gather && operand[0] < 0xC0) return;
    if (decoded.existence == Existence::kOffered) {
      code.resize(decoded.length);
      seen_.insert(decoded.mnemonic);
    }
    if (!tried_.insert(code).second) return;
    const uint32_t seed = static_cast<uint32_t>(tried_.size());
    trials_.Compare(decoded.length ? ZydisMnemonicGetString(decoded.mnemonic) : "no instruction",
                    MakeProgram(code, seed, seed % 2 ? 3 : 0), reference);
  }

  /// Existing and not existing combinations of W, L and vvvv of an opcode that exists with some.
  void SweepOpcode(Vex vex) {
    bool exists = false;
    for (unsigned bits = 0; bits < 8; ++bits) exists |= Exists(Combination(vex, bits));
    if (!exists) return;
    for (unsigned bits = 0; bits < 8; ++bits) {
      const Vex v = Combination(vex, bits);
      Try(v.Long(), {0xC9}, Reference::kNative, true);
      Try(v.Long(), {0x0B}, Reference::kBoth, true);
      if (!Exists(v)) continue;
      SweepOperands(v);
      if (v.map == 1 && !v.w) Try(v.Short(), {0xD1}, Reference::kNative, false);
    }
  }

  void Report(unsigned at_least) const { trials_.Report(at_least); }
  const std::set<ZydisMnemonic>& Seen() const { return seen_; }

 private:
  static Vex Combination(Vex vex, unsigned bits) {
    constexpr uint8_t kEdx = 0xD;
    vex.w = bits & 1;
    vex.l = bits & 2;
    vex.vvvv = bits & 4 ? kEdx : kNoVvvv;
    return vex;
  }
  static bool Exists(const Vex& vex) {
    for (uint8_t reg = 0; reg < 8; ++reg) {
      for (uint8_t modrm : {0xC1, 0x03}) {
        const Bytes code = Join(Join(vex.Long(), {static_cast<uint8_t>(modrm | reg << 3)}), kImmediate);
        if (Decode(code).existence == Existence::kOffered) return true;
      }
    }
    return false;
  }

  void SweepOperands(const Vex& v) {
    const bool general = Decode(Join(Join(v.Long(), {0xC9}), kImmediate)).general_registers;
    for (uint8_t reg = 0; reg < 8; ++reg) {
      const auto r = static_cast<uint8_t>(reg << 3);
      Try(v.Long(), {static_cast<uint8_t>(0xC4 | r)}, Reference::kNative, false);
      Try(v.Long(), {static_cast<uint8_t>(0x03 | r)}, Reference::kNative, false);
      if (!general) continue;
      for (uint8_t vvvv : {0xA, 0xB}) {  // EBP, ESP
        Vex other = v;
        other.vvvv = vvvv;
        Try(other.Long(), {static_cast<uint8_t>(0xC1 | r)}, Reference::kNative, false);
        Try(other.Long(), {static_cast<uint8_t>(0x44 | r), 0x24, 0x10}, Reference::kBoth, false);
      }
    }
    Try(v.Long(), {0x4F, 0xF1}, Reference::kBoth, false);                            // [edi - 15]
    Try(v.Long(), {0x4C, 0x24, 0x10}, Reference::kNative, false);                    // [esp + 16]
    Try(v.Long(), {0xA5, 0x10, 0xFF, 0xFF, 0xFF}, Reference::kNative, false);        // [ebp - 240]
    Try(v.Long(), {0x8C, 0x4D, 0x10, 0xFF, 0xFF, 0xFF}, Reference::kNative, false);  // [ebp + ecx*2 - 240]
    Try(v.Long(), {0x0D, 0x40, 0x10, 0x01, 0x10}, Reference::kNative, false);        // [kData + 4160]
  }

  Trials trials_;
  std::set<Bytes> tried_;
  std::set<ZydisMnemonic> seen_;
};

}  // namespace

TEST_CASE("VEX encodings do what the processor does") {
  VexSweep sweep;
  for (uint8_t map : {1, 2, 3}) {
    for (uint8_t pp = 0; pp < 4; ++pp) {
      for (unsigned opcode = 0; opcode < 256; ++opcode) {
        sweep.SweepOpcode({.map = map, .pp = pp, .opcode = static_cast<uint8_t>(opcode)});
      }
    }
  }
  sweep.Report(10000);
  for (ZydisMnemonic mnemonic :
       {ZYDIS_MNEMONIC_ANDN,      ZYDIS_MNEMONIC_BEXTR,       ZYDIS_MNEMONIC_BLSI,       ZYDIS_MNEMONIC_BLSMSK,
        ZYDIS_MNEMONIC_BLSR,      ZYDIS_MNEMONIC_BZHI,        ZYDIS_MNEMONIC_MULX,       ZYDIS_MNEMONIC_PDEP,
        ZYDIS_MNEMONIC_PEXT,      ZYDIS_MNEMONIC_RORX,        ZYDIS_MNEMONIC_SARX,       ZYDIS_MNEMONIC_SHLX,
        ZYDIS_MNEMONIC_SHRX,      ZYDIS_MNEMONIC_VMASKMOVDQU, ZYDIS_MNEMONIC_VZEROUPPER, ZYDIS_MNEMONIC_VZEROALL,
        ZYDIS_MNEMONIC_VCVTPH2PS, ZYDIS_MNEMONIC_VFMADD132PS, ZYDIS_MNEMONIC_VPERMQ,     ZYDIS_MNEMONIC_VPCLMULQDQ,
        ZYDIS_MNEMONIC_VAESENC,   ZYDIS_MNEMONIC_VBLENDVPS}) {
    INFO(ZydisMnemonicGetString(mnemonic));
    CHECK(sweep.Seen().contains(mnemonic));
  }
}

TEST_CASE("bits that 32-bit code ignores: VEX.B, the top bits of vvvv and of a register immediate") {
  Trials trials;
  const Vex addps{.opcode = 0x58, .l = true, .vvvv = 0xD}, andn{.map = 2, .opcode = 0xF2, .vvvv = 0xD};
  for (const Vex& v : {addps, andn}) {
    trials.TryBytes("B", Join(v.Long(6), {0xC9}), Reference::kBoth);
    trials.TryBytes("B with memory", Join(v.Long(6), {0x0B}), Reference::kBoth);
    Vex low = v;
    low.vvvv &= 7;
    trials.TryBytes("vvvv", Join(low.Long(), {0xC9}), Reference::kBoth);
  }
  Vex unused{.opcode = 0x28, .vvvv = 7};
  trials.TryBytes("vmovaps, vvvv 0111b", Join(unused.Long(), {0xC9}), Reference::kBoth);
  const Vex blendv{.map = 3, .pp = 1, .opcode = 0x4A, .vvvv = 0xD};
  for (uint8_t immediate : {0x30, 0xB0, 0xBF}) {
    trials.TryBytes("vblendvps", Join(blendv.Long(), {0xC9, immediate}), Reference::kBoth);
    trials.TryBytes("vblendvps m", Join(blendv.Long(), {0x0B, immediate}), Reference::kBoth);
  }
  trials.Report(70);
}

TEST_CASE("LOCK, 66, F2 and F3 before VEX are #UD; segments and 67h are not") {
  Trials trials;
  const Vex addps{.opcode = 0x58, .l = true, .vvvv = 0xD}, andn{.map = 2, .opcode = 0xF2, .vvvv = 0xD};
  for (const Vex& v : {addps, andn}) {
    for (uint8_t prefix : {0xF0, 0x66, 0xF2, 0xF3, 0x26, 0x2E, 0x36, 0x3E}) {
      trials.TryBytes("register", Join(Join({prefix}, v.Long()), {0xC9}), Reference::kBoth);
      trials.TryBytes("memory", Join(Join({prefix}, v.Long()), {0x0B}), Reference::kBoth);
    }
    trials.TryBytes("67h", Join(Join({0x67}, v.Long()), {0xC9}), Reference::kBoth);
  }
  trials.Report(150);
}

TEST_CASE("other prefixed and three-byte extensions") {
  Trials trials;
  trials.seeds = 6;
  for (uint8_t modrm : {0xC1, 0xE1, 0xCC, 0xED, 0x03, 0x63, 0x6D}) {  // ecx, esp, ebp; [ebx], [ebx+d8], [ebp+d8]
    const auto with = [&](Bytes code) {
      code.push_back(modrm);
      if (modrm >> 6 == 1) code.push_back(0x10);
      return code;
    };
    for (const Bytes& prefix : {Bytes{}, Bytes{0x66}}) {
      for (uint8_t opcode : {0xB8, 0xBC, 0xBD}) {  // POPCNT, TZCNT, LZCNT; JMPE does not exist
        trials.TryBytes("count", with(Join(prefix, {0xF3, 0x0F, opcode})), Reference::kBoth);
        trials.TryBytes("count, 66 last", with(Join({0xF3}, Join(prefix, {0x0F, opcode}))), Reference::kBoth);
      }
      if (modrm < 0xC0) {
        for (uint8_t opcode : {0xF0, 0xF1}) {
          trials.TryBytes("movbe", with(Join(prefix, {0x0F, 0x38, opcode})), Reference::kBoth);
        }
      }
    }
    trials.TryBytes("adcx", with({0x66, 0x0F, 0x38, 0xF6}), Reference::kBoth);
    trials.TryBytes("adox", with({0xF3, 0x0F, 0x38, 0xF6}), Reference::kBoth);
    trials.TryBytes("aesenc", with({0x66, 0x0F, 0x38, 0xDC}), Reference::kBoth);
    trials.TryBytes("aesdeclast", with({0x66, 0x0F, 0x38, 0xDF}), Reference::kBoth);
    trials.TryBytes("aesimc", with({0x66, 0x0F, 0x38, 0xDB}), Reference::kBoth);
    trials.TryBytes("aeskeygenassist", Join(with({0x66, 0x0F, 0x3A, 0xDF}), {0x1B}), Reference::kBoth);
    trials.TryBytes("pclmulqdq", Join(with({0x66, 0x0F, 0x3A, 0x44}), {0x11}), Reference::kBoth);
    for (uint8_t opcode : {0xC8, 0xC9, 0xCA, 0xCB, 0xCC, 0xCD}) {
      trials.TryBytes("sha", with({0x0F, 0x38, opcode}), Reference::kBoth);
    }
    trials.TryBytes("sha1rnds4", Join(with({0x0F, 0x3A, 0xCC}), {0x02}), Reference::kBoth);
  }
  trials.Report(2000);
}
