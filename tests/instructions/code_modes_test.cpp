// The modes that code can be in: real, unreal and V86 mode, 16- and 32-bit code and stacks, segments with bases, limits
// and rights. Random programs in each, translated against interpreted; the final state and all memory are compared.
#include <fmt/core.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <random>

#include "monitor/cpu/descriptor.h"
#include "tests/translator/program.h"
#include "translator/decode.h"
#include "translator/dump.h"

using namespace ring3;

namespace {

// Below 1 MiB, where every mode can get: an interrupt table, and the HLTs that its entries name.
constexpr uint32_t kVectors = 0x60000, kHalts = 0x61000, kDataBase = 0x62000, kExtraBase = 0x66000,
                   kStackBase = 0x70000, kCodeBase = guest::kLowCode, kMemoryEnd = 0x90000, kCompared = 0x10'0000;
constexpr uint16_t kCodeAttributes =
                       segattr::kPresent | segattr::kS | segattr::kCode | segattr::kReadable | segattr::kAccessed,
                   kDataAttributes = segattr::kPresent | segattr::kS | segattr::kWritable | segattr::kAccessed,
                   kReadOnlyAttributes = kDataAttributes & ~segattr::kWritable,
                   kDown = kDataAttributes | segattr::kExpandDown, kAllDpl = segattr::kDplMask;

SegmentRegister Segment(uint32_t base, uint32_t limit, unsigned attributes, uint16_t selector) {
  return {selector, static_cast<uint16_t>(attributes), base, limit};
}

enum class Machine : uint8_t { kReal, kV86, kProtected };

struct Mode {
  const char* name;
  Machine machine;
  unsigned cpl;
  bool code32, stack32;
  SegmentRegister cs, ss, ds, es, fs;
};

/// As real and V86 mode make it from a selector.
SegmentRegister Paragraph(uint32_t base, uint32_t limit = 0xFFFF) {
  return Segment(base, limit, kDataAttributes, static_cast<uint16_t>(base >> 4));
}

constexpr uint16_t kBig = segattr::kDb;

std::vector<Mode> Modes() {
  const SegmentRegister code = Paragraph(kCodeBase), data = Paragraph(kDataBase), extra = Paragraph(kExtraBase),
                        stack = Paragraph(kStackBase);
  SegmentRegister flat = Segment(0, 0xFFFF'FFFF, kDataAttributes | kBig, 0);
  const auto code16 = [](uint32_t limit, unsigned dpl) {
    return Segment(kCodeBase, limit, kCodeAttributes | dpl, dpl ? guest::kCode3 : guest::kCode0);
  };
  const auto plain = [](uint32_t base, uint32_t limit, unsigned attributes) {
    return Segment(base, limit, attributes, guest::kData0);
  };
  const auto plain3 = [](uint32_t base, uint32_t limit, unsigned attributes) {
    return Segment(base, limit, attributes | kAllDpl, guest::kData3);
  };
  using enum Machine;
  return {
      {"real mode", kReal, 0, false, false, code, stack, data, extra, Paragraph(kDataBase + 0x8000)},
      {"unreal mode", kReal, 0, false, false, code, stack, flat, data, Paragraph(kDataBase, 0xFFFF'FFFF)},
      {"real mode, small limits", kReal, 0, false, false, code, stack, Paragraph(kDataBase, 0x2FFF),
       Paragraph(kExtraBase, 0x1001), stack},
      {"V86 mode", kV86, 3, false, false, code, stack, data, extra, Paragraph(kDataBase + 0x8000)},
      {"16-bit segments, CPL 0", kProtected, 0, false, false, code16(0xFFFF, 0),
       plain(kStackBase, 0xFFFF, kDataAttributes), plain(kDataBase, 0x3FFF, kDataAttributes),
       plain(kExtraBase, 0xFFFF, kReadOnlyAttributes), plain(kDataBase, 0x00FF, kDown)},
      {"16-bit segments, CPL 3", kProtected, 3, false, false, code16(0x0FFF, kAllDpl),
       plain3(kStackBase, 0xFFFF, kDataAttributes), plain3(kDataBase, 0x3FFF, kDataAttributes),
       plain3(kExtraBase, 0xFFFF, kDataAttributes), plain3(kDataBase, 0x00FF, kReadOnlyAttributes)},
      {"16-bit code, 32-bit stack", kProtected, 0, false, true, code16(0xFFFF, 0),
       plain(kStackBase, 0x1'FFFF, kDataAttributes | kBig), plain(kDataBase, 0xFFFF, kDataAttributes),
       plain(kExtraBase, 0xFFFF'FFFF, kDataAttributes), plain(kDataBase, 0xFFFF'FFFF, kDataAttributes)},
      {"32-bit code, 16-bit stack", kProtected, 3, true, false, code16(0xFFFF, kBig | kAllDpl),
       plain3(kStackBase, 0xFFFF, kDataAttributes), plain3(kDataBase, 0xFFFF, kDataAttributes),
       plain3(kExtraBase, 0x7FFF, kDataAttributes), plain3(0, 0xFFFF'FFFF, kDataAttributes)},
      {"32-bit segments with limits", kProtected, 0, true, true, code16(0x2FFF, kBig),
       plain(kStackBase, 0xFFFF, kDataAttributes | kBig), plain(kDataBase, 0x4000, kDataAttributes | kBig),
       plain(kExtraBase, 0x5000, kDataAttributes | kBig), plain(kDataBase, 0xFFFF'FFFF, kReadOnlyAttributes)},
      {"expand-down stack", kProtected, 0, false, false, code16(0xFFFF, 0), plain(kStackBase, 0x7FFF, kDown),
       plain(kDataBase, 0xFFFF, kDataAttributes), plain(kExtraBase, 0xFFFF, kDataAttributes),
       plain(kDataBase, 0xFFFF'FFFF, kDataAttributes)},
  };
}

/// Random instructions that the translator does not leave to the monitor, and some that it does.
class Generator {
 public:
  Generator(uint32_t seed, bool code32) : random_(seed), decoder_(FindCpuModel("max"), code32) {}

  Bytes Code() {
    Bytes code;
    const unsigned count = 1 + Random(8);
    while (instructions_ < count) Add(code);
    code.push_back(0xF4);
    // Jumps land here or there; all that lies ahead halts or traps.
    code.insert(code.end(), 16, 0xF4);
    return code;
  }

  CpuState Registers(CpuState state) {
    for (uint32_t& gpr : state.gpr) gpr = Value();
    state.gpr[kEsp] = (Random(4) ? 0x8000 + Random(0x100) : Random(8)) | (Random(4) ? 0 : random_() & 0xFFFF'0000);
    state.eflags |= random_() & eflags::kHostHeld;
    return state;
  }

 private:
  uint32_t Random(uint32_t below) { return static_cast<uint32_t>(random_() % below); }

  uint32_t Value() {
    static const uint32_t kEdges[] = {0, 1, 2, 3, 0xFFFE, 0xFFFF, 0xFFFD, 0x2FFF, 0x3FFE, 0x4000, 0xFFFF'FFFF, 0x10000};
    switch (Random(5)) {
      case 0:
        return kEdges[Random(std::size(kEdges))];
      case 1:
        return static_cast<uint32_t>(random_());
      case 2:
        return (static_cast<uint32_t>(random_()) & 0xFFFF'0000) | Random(0x2000);
      default:
        return Random(0x2000);
    }
  }

  void Add(Bytes& code) {
    Bytes bytes;
    if (Random(8) == 0) bytes.push_back(0x66);
    if (Random(8) == 0) bytes.push_back(0x67);
    static const uint8_t kOverrides[] = {0x26, 0x2E, 0x36, 0x3E, 0x64};
    if (Random(6) == 0) bytes.push_back(kOverrides[Random(std::size(kOverrides))]);
    // Much of what such code consists of: stack, strings, segment registers, branches.
    static const uint8_t kFavourites[] = {0x50, 0x53, 0x54, 0x58, 0x5B, 0x5C, 0x5D, 0x1E, 0x06, 0x1F, 0x07, 0x17, 0x8E,
                                          0x8C, 0xC4, 0xC5, 0xA4, 0xA5, 0xAA, 0xAB, 0xAC, 0xAD, 0xE0, 0xE1, 0xE2, 0xE3,
                                          0xE8, 0xEB, 0xC3, 0xC2, 0xFF, 0x8F, 0xC9, 0x68, 0x6A, 0x8D, 0x88, 0x8A, 0x8B,
                                          0x9C, 0x9D, 0xFA, 0xFB, 0x74, 0x75, 0xA0, 0xA1, 0xA2, 0xA3, 0xD7, 0x60, 0x61};
    bytes.push_back(Random(2) ? kFavourites[Random(std::size(kFavourites))] : static_cast<uint8_t>(random_()));
    for (int i = 0; i < 12; ++i) bytes.push_back(static_cast<uint8_t>(random_()));
    GuestInstruction insn;
    if (decoder_.Decode(bytes, 0, insn) != DecodeStatus::kOk || !Wanted(insn)) return;
    if (insn.info.meta.branch_type == ZYDIS_BRANCH_TYPE_SHORT)
      bytes[insn.length - 1] = static_cast<uint8_t>(Random(12));
    if (insn.info.meta.branch_type == ZYDIS_BRANCH_TYPE_NEAR && insn.info.raw.imm[0].is_relative) {
      std::memset(&bytes[insn.info.raw.imm[0].offset], 0, insn.info.raw.imm[0].size / 8);
      bytes[insn.info.raw.imm[0].offset] = static_cast<uint8_t>(Random(12));
    }
    code.insert(code.end(), bytes.begin(), bytes.begin() + insn.length);
    ++instructions_;
  }

  /// Far transfers go into noise; x87 leaves addresses that differ by design; REP runs for long.
  bool Wanted(const GuestInstruction& insn) {
    if (insn.row.unit == Unit::kX87 || insn.info.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR) return false;
    if (insn.info.meta.isa_ext != ZYDIS_ISA_EXT_BASE) return false;
    switch (insn.info.mnemonic) {
      case ZYDIS_MNEMONIC_IRET:
      case ZYDIS_MNEMONIC_IRETD:
      case ZYDIS_MNEMONIC_RDTSC:
      case ZYDIS_MNEMONIC_RSM:
      case ZYDIS_MNEMONIC_CPUID:
      case ZYDIS_MNEMONIC_HLT:
      case ZYDIS_MNEMONIC_LMSW:
      case ZYDIS_MNEMONIC_LGDT:
      case ZYDIS_MNEMONIC_LIDT:
      case ZYDIS_MNEMONIC_WRMSR:
      case ZYDIS_MNEMONIC_RDMSR:
        return false;
      case ZYDIS_MNEMONIC_MOV:
        return !Names(insn, ZYDIS_REGCLASS_CONTROL) && !Names(insn, ZYDIS_REGCLASS_DEBUG);
      case ZYDIS_MNEMONIC_POPF:
      case ZYDIS_MNEMONIC_POPFD:
        return Random(4) == 0;
      default:
        return insn.row.cls != InstructionClass::kInterpret || Random(6) == 0;
    }
  }

  static bool Names(const GuestInstruction& insn, ZydisRegisterClass cls) {
    return std::any_of(insn.operands, insn.operands + insn.info.operand_count_visible, [cls](const auto& op) {
      return op.type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(op.reg.value) == cls;
    });
  }

  std::mt19937 random_;
  Decoder decoder_;
  unsigned instructions_ = 0;
};

/// Both machines get the same memory and state.
class ModeTrial {
 public:
  explicit ModeTrial(const Mode& mode) : mode_(mode) {
    for (TestMachine* machine : {&translated_, &interpreted_}) {
      machine->Reset(mode_.cpl, mode_.machine != Machine::kReal);
      if (mode_.cpl != 3) continue;
      for (uint32_t page = kVectors; page < kMemoryEnd; page += kPageSize) {
        machine->Map(page, page, guest::kPresent | guest::kWritable | guest::kUser);
      }
    }
  }

  /// Code that may be interrupted anywhere; both machines begin with the same registers.
  void RunLoop(const Bytes& code, uint32_t eip) {
    for (TestMachine* machine : {&interpreted_, &translated_}) {
      Prepare(*machine, 1, code, eip);
      machine->State().gpr = {};
      machine->State().gpr[kEsp] = 0x8000;
      machine->Run();
    }
    if (Same()) return;
    UNSCOPED_INFO(Describe(1, code, interpreted_.State()));
    FAIL_CHECK(mode_.name);
  }
  const SignalStats& Signals() const { return translated_.Signals(); }

  void Run(uint32_t seed) {
    Generator generator(seed, mode_.code32);
    const Bytes code = generator.Code();
    const uint32_t offset = seed % 8 == 0 ? 0xFFFu - static_cast<uint32_t>(code.size()) / 2 : 0x100 + seed % 64 * 0x20;
    const uint32_t eip = std::min<uint32_t>(offset, mode_.cs.limit - static_cast<uint32_t>(code.size()) + 1);
    for (TestMachine* machine : {&translated_, &interpreted_}) Prepare(*machine, seed, code, eip);
    const CpuState start = generator.Registers(interpreted_.State());
    for (TestMachine* machine : {&interpreted_, &translated_}) {
      machine->State() = start;
      try {
        machine->Run();
      } catch (const GuestRunsOn&) {
        return AlignMemory();
      } catch (const GuestShutDown&) {
        // In both or in neither: what they left behind is compared.
      }
    }
    stopped_at_hlt_ += interpreted_.State().tr.selector == guest::kMainTask || mode_.cpl == 3;
    if (Same()) return;
    UNSCOPED_INFO(Describe(seed, code, start));
    FAIL_CHECK(mode_.name);
  }

  unsigned StoppedAtHlt() const { return stopped_at_hlt_; }
  uint64_t TranslatedInstructions() { return translated_.GetTranslator().Stats().guest_instructions; }

 private:
  void Prepare(TestMachine& machine, uint32_t seed, const Bytes& code, uint32_t eip) {
    machine.Reset(mode_.cpl, mode_.machine != Machine::kReal);
    std::mt19937 random(seed);
    Bytes noise(kMemoryEnd - kVectors);
    for (size_t i = 0; i < noise.size(); i += 4) {
      const uint32_t value = static_cast<uint32_t>(random());
      std::memcpy(&noise[i], &value, 4);
    }
    for (uint32_t vector = 0; vector < 256; ++vector) {
      const uint32_t entry = (kHalts >> 4) << 16 | vector * 2;
      std::memcpy(&noise[vector * 4], &entry, 4);
      noise[kHalts - kVectors + vector * 2] = 0xF4;
    }
    std::fill(noise.begin() + (kCodeBase - kVectors), noise.end(), uint8_t{0xF4});
    std::copy(code.begin(), code.end(), noise.begin() + (kCodeBase - kVectors + eip));
    machine.Write(kVectors, noise);
    CpuState& s = machine.State();
    s.Segment(Seg::kCs) = mode_.cs;
    s.Segment(Seg::kSs) = mode_.ss;
    s.Segment(Seg::kDs) = mode_.ds;
    s.Segment(Seg::kEs) = mode_.es;
    s.Segment(Seg::kFs) = mode_.fs;
    s.Segment(Seg::kGs) = mode_.ds;
    s.eip = eip;
    if (mode_.machine == Machine::kReal) {
      s.cr0 &= ~(cr0::kPe | cr0::kPg);
      s.idtr = {kVectors, 0x3FF};
    }
    if (mode_.machine == Machine::kV86) {
      s.eflags |= eflags::kVm | eflags::kIopl;
      for (SegmentRegister& segment : s.seg) segment.attributes |= segattr::kDplMask;
    }
    machine.GetCpu().PagingChanged();
  }

  /// An endless loop was stopped at two different points.
  void AlignMemory() { translated_.Write(0, {Memory(interpreted_), kCompared}); }

  bool Same() {
    CpuState a = translated_.State(), b = interpreted_.State();
    a.fxsave = b.fxsave;
    return a == b && std::memcmp(Memory(translated_), Memory(interpreted_), kCompared) == 0;
  }

  static const uint8_t* Memory(TestMachine& machine) { return machine.Physical().Flat(GuestPhysical(0)); }

  std::string Describe(uint32_t seed, const Bytes& code, const CpuState& start) {
    std::string text = fmt::format("{}, seed {}\n", mode_.name, seed);
    for (size_t at = 0; at < code.size() && code[at] != 0xF4;) {
      unsigned length = 1;
      const CodeSize size = mode_.code32 ? CodeSize::k32 : CodeSize::k16;
      text += fmt::format("  {:04x}  {}\n", start.eip + at,
                          Disassemble({code.data() + at, code.size() - at}, start.eip + at, size, length));
      at += length;
    }
    const auto registers = [&](const char* name, const CpuState& s) {
      text += fmt::format("{}: eip {:x} eflags {:x} tr {:x} cr2 {:x} gpr", name, s.eip, s.eflags, s.tr.selector, s.cr2);
      for (uint32_t gpr : s.gpr) text += fmt::format(" {:x}", gpr);
      for (const SegmentRegister& seg : s.seg) {
        text += fmt::format(" {:x}:{:x}:{:x}:{:x}", seg.selector, seg.base, seg.limit, seg.attributes);
      }
      text += '\n';
    };
    registers("start", start);
    registers("translated", translated_.State());
    registers("interpreted", interpreted_.State());
    for (uint32_t at = 0, shown = 0; at < kCompared && shown < 12; ++at) {
      if (Memory(translated_)[at] == Memory(interpreted_)[at]) continue;
      text += fmt::format("[{:x}] {:02x}, interpreted {:02x}\n", at, Memory(translated_)[at], Memory(interpreted_)[at]);
      ++shown;
    }
    return text;
  }

  Mode mode_;
  TestMachine translated_, interpreted_{{.interpreter = true, .most_steps = 500'000}};
  unsigned stopped_at_hlt_ = 0;
};

}  // namespace

TEST_CASE("random code does the same translated and interpreted in every mode") {
#ifdef RING3_SANITIZED
  const unsigned programs = 60;
#else
  const unsigned programs = 600;
#endif
  for (const Mode& mode : Modes()) {
    ModeTrial trial(mode);
    for (uint32_t seed = 1; seed <= programs; ++seed) trial.Run(seed);
    INFO(mode.name);
    CHECK(trial.StoppedAtHlt() > programs / 5);
    CHECK(trial.TranslatedInstructions() > programs);
  }
}

TEST_CASE("kicks in 16-bit code leave at precise points") {
  const Bytes loop = {
      0xB9, 0x00, 0x20,        // mov cx, 0x2000
      0x51,                    // push cx
      0xE8, 0x23, 0x00,        // call function
      0x59,                    // pop cx
      0x1E, 0x07,              // push ds; pop es
      0xBE, 0x00, 0x10,        // mov si, 0x1000
      0xBF, 0x00, 0x12,        // mov di, 0x1200
      0xAC, 0xAA, 0xA5,        // lodsb; stosb; movsw
      0x9C, 0x5A,              // pushf; pop dx
      0x81, 0xE2, 0xD5, 0x08,  // and dx, 0x8d5
      0x31, 0xD0,              // xor ax, dx
      0x01, 0x06, 0x00, 0x10,  // add [0x1000], ax
      0x00, 0x26, 0x02, 0x10,  // add [0x1002], ah
      0xE2, 0xDE,              // loop to the push
      0xF4,                    // hlt
      0x90, 0x90, 0x90, 0x90,
      // function:
      0x55, 0x89, 0xE5,  // push bp; mov bp, sp
      0x83, 0xEC, 0x08,  // sub sp, 8
      0x89, 0x46, 0xFC,  // mov [bp - 4], ax
      0x03, 0x46, 0xFC,  // add ax, [bp - 4]
      0xD1, 0xC0,        // rol ax, 1
      0xC9, 0xC3,        // leave; ret
  };
  for (const Mode& mode : Modes()) {
    const bool writable = mode.es.attributes != kReadOnlyAttributes;
    const bool translated_stack = !(mode.ss.attributes & segattr::kExpandDown);
    if (mode.code32 || mode.cpl != 0 || !writable || !translated_stack) continue;
    ModeTrial trial(mode);
    const KickTimer timer(20'000);
    constexpr int kRounds = 5, kPatience = 1000;  // kicks are rare where code is slow
    const auto kicked = [&] { return trial.Signals().kicks_in_translated_code > 2; };
    for (int round = 0; round < kRounds || (!kicked() && round < kPatience); ++round) trial.RunLoop(loop, 0x100);
    INFO(mode.name);
    CHECK(kicked());
  }
}
