// SGDT, SIDT, SLDT, STR, SMSW, LAR, LSL, VERR and VERW at each privilege level: what the guest set up, and nothing
// else. Expectations are the manual's (SDM 2A and 2B, the instructions' pages).
#include <fmt/core.h>

#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/redpill/rings.h"

using namespace ring3;
using namespace asmjit;
using namespace asmjit::x86;

namespace {

constexpr uint32_t kResults = guest::kData + 0x2000, kFilled = 0xCCCC'CCCC, kMarker = 0xDEAD'BEEF;

Mem At(uint32_t offset, uint32_t size) { return Mem(uint64_t{kResults + offset}, size); }

/// All six bytes of a table register, and nothing behind them.
void CheckTable(const Outcome& o, uint32_t offset, uint16_t limit, uint32_t base) {
  CHECK(WordAt(o, kResults + offset) == limit);
  CHECK(DwordAt(o, kResults + offset + 2) == base);
  CHECK(WordAt(o, kResults + offset + 6) == static_cast<uint16_t>(kFilled));
}

void StoreSystemRegisters(Assembler& a) {
  a.sgdt(At(0x00, 0));
  a.sidt(At(0x10, 0));
  a.db(0x66);
  a.sgdt(At(0x20, 0));  // 32 bits of base are written all the same
  a.sldt(At(0x30, 2));
  a.str(At(0x34, 2));
  a.smsw(At(0x38, 2));
  uint32_t offset = 0x40;
  const auto store = [&](const std::function<void()>& insn) {
    a.mov(edx, kMarker);
    insn();
    a.mov(At(offset, 4), edx);
    offset += 4;
  };
  store([&] { a.sldt(edx); });
  store([&] { a.sldt(dx); });
  store([&] { a.str(edx); });
  store([&] { a.str(dx); });
  store([&] { a.smsw(edx); });
  store([&] { a.smsw(dx); });
}

void CheckSystemRegisters(TestMachine& m, const Outcome& o) {
  CheckTable(o, 0x00, rings::kGdtLimit, guest::kGdt);
  CheckTable(o, 0x10, rings::kIdtLimit, guest::kIdt);
  CheckTable(o, 0x20, rings::kGdtLimit, guest::kGdt);
  const uint32_t cr0 = cr0::kPg | cr0::kWp | cr0::kNe | cr0::kEt | cr0::kMp | cr0::kPe;
  CHECK((m.State().cr0 & ~cr0::kTs) == cr0);  // the task switch to the handler set TS
  // Two bytes in memory whatever the operand size; registers whole, or their lower half alone.
  CHECK(DwordAt(o, kResults + 0x30) == (kFilled & 0xFFFF'0000 | rings::kLdt));
  CHECK(DwordAt(o, kResults + 0x34) == (kFilled & 0xFFFF'0000 | guest::kMainTask));
  CHECK(DwordAt(o, kResults + 0x38) == (kFilled & 0xFFFF'0000 | (cr0 & 0xFFFF)));
  constexpr uint32_t kUpper = kMarker & 0xFFFF'0000;
  const uint32_t expected[] = {rings::kLdt, kUpper | rings::kLdt,   guest::kMainTask, kUpper | guest::kMainTask,
                               cr0,         kUpper | (cr0 & 0xFFFF)};
  for (uint32_t i = 0; i < std::size(expected); ++i) CHECK(DwordAt(o, kResults + 0x40 + 4 * i) == expected[i]);
}

std::string Name(unsigned cpl, const char* what = "") { return fmt::format("CPL {} {}", cpl, what); }

}  // namespace

TEST_CASE("SGDT, SIDT, SLDT, STR and SMSW show the guest's own tables at every level") {
  std::vector<Scenario> scenarios;
  for (unsigned cpl : {0u, 1u, 2u, 3u}) {
    scenarios.push_back({Name(cpl), [=](TestMachine& m) { EnterRing(m, cpl, ThreeTimes(StoreSystemRegisters)); },
                         CheckSystemRegisters});
  }
  RunEverywhere(scenarios);
}

TEST_CASE("the tables are the guest's latest, null LDT and limits below the base's included") {
  const Scenario scenario = {"LGDT, LIDT, LLDT",
                             [](TestMachine& m) {
                               EnterRing(m, 0, ThreeTimes([](Assembler& a) {
                                           a.sidt(At(0x100, 0));
                                           a.mov(At(0x20, 4), 0x1234'0007);  // limit 7, base as follows
                                           a.mov(At(0x24, 4), 0xFFC0'5678);
                                           a.lidt(At(0x20, 0));
                                           a.sidt(At(0x30, 0));
                                           a.lidt(At(0x100, 0));
                                           a.xor_(eax, eax);
                                           a.lldt(ax);
                                           a.sldt(At(0x40, 2));
                                           a.mov(eax, 3);  // null with RPL 3 stays visible
                                           a.lldt(ax);
                                           a.sldt(edx);
                                           a.mov(At(0x44, 4), edx);
                                         }));
                             },
                             [](TestMachine&, const Outcome& o) {
                               CheckTable(o, 0x30, 7, 0x5678'1234);
                               CHECK(WordAt(o, kResults + 0x40) == 0);
                               CHECK(DwordAt(o, kResults + 0x44) == 3);
                             }};
  RunEverywhere(scenario);
}

TEST_CASE("the six bytes of SIDT obey limits and pages") {
  constexpr uint32_t kDataEnd = guest::kData + guest::kDataBytes;
  std::vector<Scenario> scenarios;
  for (unsigned cpl : {0u, 3u}) {
    const auto program = [=](uint32_t at, bool small) {
      return [=](TestMachine& m) {
        EnterRing(m, cpl, Assemble(guest::kCode, [=](Assembler& a) {
                    a.mov(eax, guest::kSmall);
                    a.mov(es, eax);
                    Mem target(uint64_t{at}, 0);
                    if (small) target.setSegment(es);
                    a.sidt(target);
                    a.int3();
                  }));
      };
    };
    const auto vector = [](uint32_t v, uint32_t cr2) {
      return [=](TestMachine&, const Outcome& o) {
        CHECK(o.vector == v);
        if (v == 14) CHECK(o.cr2 == cr2);
      };
    };
    scenarios.push_back({Name(cpl, "in the limit"), program(guest::kSmallBytes - 6, true), vector(3, 0)});
    scenarios.push_back({Name(cpl, "past the limit"), program(guest::kSmallBytes - 5, true), vector(13, 0)});
    scenarios.push_back({Name(cpl, "at the end of the page"), program(kDataEnd - 6, false), vector(3, 0)});
    scenarios.push_back({Name(cpl, "into an absent page"), program(kDataEnd - 5, false), vector(14, kDataEnd)});
  }
  RunEverywhere(scenarios);
}

TEST_CASE("register forms of SGDT and SIDT, and everything in V86 mode, are invalid opcodes") {
  std::vector<Scenario> scenarios;
  const auto invalid = [](TestMachine&, const Outcome& o) { CHECK(o.vector == 6u); };
  for (unsigned cpl : {0u, 1u, 2u, 3u}) {
    for (uint8_t modrm : {0xC5, 0xCF}) {
      scenarios.push_back({Name(cpl), [=](TestMachine& m) { EnterRing(m, cpl, {0x0F, 0x01, modrm, 0xCC}); }, invalid});
    }
  }
  const Bytes undefined[] = {{0x0F, 0x00, 0xC0}, {0x0F, 0x00, 0xC8}, {0x0F, 0x00, 0xE0}, {0x0F, 0x00, 0xE8},
                             {0x0F, 0x02, 0xC0}, {0x0F, 0x03, 0xC0}, {0x63, 0xC0},       {0x0F, 0x00, 0x06, 0, 1}};
  for (const Bytes& code : undefined) {
    for (unsigned iopl : {0u, 3u}) {
      scenarios.push_back({"V86", [=](TestMachine& m) { EnterV86(m, iopl, code); }, invalid});
    }
  }
  RunEverywhere(scenarios);
}

TEST_CASE("SGDT, SIDT and SMSW work in V86 mode") {
  const Bytes code = {0x0F, 0x01, 0x06, 0x00, 0x01,  // sgdt [100h]
                      0x0F, 0x01, 0x0E, 0x10, 0x01,  // sidt [110h]
                      0x0F, 0x01, 0x26, 0x20, 0x01,  // smsw [120h]
                      0x0F, 0x01, 0xE0, 0xCC};       // smsw ax
  const Scenario scenario = {"V86", [&](TestMachine& m) { EnterV86(m, 3, code); },
                             [](TestMachine& m, const Outcome& o) {
                               CHECK(m.Get<uint16_t>(rings::kV86Data + 0x100) == rings::kGdtLimit);
                               CHECK(m.Get<uint32_t>(rings::kV86Data + 0x102) == guest::kGdt);
                               CHECK(m.Get<uint32_t>(rings::kV86Data + 0x112) == guest::kIdt);
                               CHECK(m.Get<uint32_t>(rings::kV86Data + 0x120) == 0xCCCC'0033);
                               CHECK((o.gpr[kEax] & 0xFFFF) == 0x33);
                             }};
  RunEverywhere(scenario);
}

namespace {

/// What LAR, LSL, VERR and VERW may say about a descriptor (SDM 2A table 3-52 and 3-67, 2B VERR).
struct View {
  bool lar = false, lsl = false, verr = false, verw = false;
  uint32_t rights = 0, limit = 0;
};

View Expected(uint64_t descriptor, unsigned cpl, unsigned rpl) {
  const auto high = static_cast<uint32_t>(descriptor >> 32);
  const unsigned type = high >> 8 & 15, dpl = high >> 13 & 3;
  const bool segment = high & 1u << 12, code = segment && (type & 8), conforming = code && (type & 4);
  View view;
  if (!conforming && (dpl < cpl || dpl < rpl)) return view;
  const auto one_of = [type](std::initializer_list<unsigned> types) {
    return std::find(types.begin(), types.end(), type) != types.end();
  };
  view.lar = segment || one_of({1, 2, 3, 4, 5, 9, 11, 12});
  view.lsl = segment || one_of({1, 2, 3, 9, 11});
  view.verr = segment && (!code || (type & 2));
  view.verw = segment && !code && (type & 2);
  view.rights = high & 0x00FF'FF00;
  view.limit = static_cast<uint32_t>(descriptor & 0xFFFF) | (high & 0xF0000);
  if (high & 1u << 23) view.limit = view.limit << 12 | 0xFFF;
  return view;
}

constexpr unsigned kDescriptors = 256, kSelectors = kDescriptors + 4, kResultBytes = 16;

/// Every type, segment and system, with every DPL, present and absent, in all kinds of other attributes.
uint64_t TestDescriptor(unsigned index) {
  const unsigned type = index % 16, segment = index / 16 % 2, dpl = index / 32 % 4, present = index / 128;
  const unsigned upper = index * 7 % 16;  // G, D, reserved, AVL
  return RawDescriptor(0x1234'5678 * index, 0x13579 * index & 0xFFFFF,
                       static_cast<uint16_t>(upper << 12 | present << 7 | dpl << 5 | segment << 4 | type));
}

uint16_t TestSelector(unsigned index, unsigned rpl) {
  const uint16_t others[] = {0, rings::kBeyond, 0x24, 0x2C};  // null, past the GDT, in the LDT and past it
  const unsigned selector = index < kDescriptors ? rings::kFree + 8 * index : others[index - kDescriptors];
  return static_cast<uint16_t>(selector | rpl);
}

/// A result: rights, limit, their lower halves, and a byte of ZF for each instruction.
void LookAtSelectors(Assembler& a) {
  Label top = a.newLabel();
  a.mov(esi, guest::kData + 0x10);
  a.mov(edi, kResults);
  a.mov(ebp, kSelectors);
  a.bind(top);
  a.movzx(ecx, word_ptr(esi));
  a.mov(eax, kMarker);
  a.lar(eax, ecx);
  a.setz(byte_ptr(edi, 12));
  a.mov(ptr(edi), eax);
  a.mov(eax, kMarker);
  a.lsl(eax, word_ptr(esi));
  a.setz(byte_ptr(edi, 13));
  a.mov(ptr(edi, 4), eax);
  a.mov(eax, kMarker);
  a.lar(ax, cx);
  a.mov(edx, kMarker);
  a.lsl(dx, word_ptr(esi));
  a.mov(ptr(edi, 8), ax);
  a.mov(ptr(edi, 10), dx);
  a.verr(cx);
  a.setz(byte_ptr(edi, 14));
  a.verw(word_ptr(esi));
  a.setz(byte_ptr(edi, 15));
  a.add(esi, 2);
  a.add(edi, kResultBytes);
  a.dec(ebp);
  a.jnz(top);
}

std::string CompareViews(const Outcome& o, unsigned cpl, unsigned rpl) {
  std::string text;
  for (unsigned i = 0; i < kSelectors; ++i) {
    const uint32_t at = kResults + i * kResultBytes;
    const uint64_t ldt_entry = RawDescriptor(0, 0x777, 0x00F2);
    View view = i < kDescriptors ? Expected(TestDescriptor(i), cpl, rpl) : View{};
    if (i == kDescriptors + 2) view = Expected(ldt_entry, cpl, rpl);
    const uint32_t rights = view.lar ? view.rights : kMarker, limit = view.lsl ? view.limit : kMarker;
    const uint32_t flags = DwordAt(o, at + 12);
    const uint32_t expected_flags = view.lar | view.lsl << 8 | view.verr << 16 | view.verw << 24;
    if (DwordAt(o, at) == rights && DwordAt(o, at + 4) == limit && flags == expected_flags &&
        DwordAt(o, at + 8) == (rights & 0xFFFF | limit << 16)) {
      continue;
    }
    text += fmt::format("selector {:04x}: {:08x} {:08x} {:08x} {:08x}, expected {:08x} {:08x} flags {:08x}\n",
                        TestSelector(i, rpl), DwordAt(o, at), DwordAt(o, at + 4), DwordAt(o, at + 8), flags, rights,
                        limit, expected_flags);
  }
  return text;
}

}  // namespace

TEST_CASE("LAR, LSL, VERR and VERW of every kind of descriptor at every CPL and RPL") {
  std::vector<Scenario> scenarios;
  for (unsigned cpl : {0u, 1u, 2u, 3u}) {
    for (unsigned rpl : {0u, 1u, 2u, 3u}) {
      scenarios.push_back({fmt::format("CPL {} RPL {}", cpl, rpl),
                           [=](TestMachine& m) {
                             EnterRing(m, cpl, ThreeTimes(LookAtSelectors));
                             for (unsigned i = 0; i < kDescriptors; ++i) {
                               SetDescriptor(m, static_cast<uint16_t>(rings::kFree + 8 * i), TestDescriptor(i));
                             }
                             m.Set<uint64_t>(rings::kLdtBase + 0x20, RawDescriptor(0, 0x777, 0x00F2));
                             for (unsigned i = 0; i < kSelectors; ++i) {
                               m.Set<uint16_t>(guest::kDataFrames + 0x10 + 2 * i, TestSelector(i, rpl));
                             }
                           },
                           [=](TestMachine&, const Outcome& o) { CHECK(CompareViews(o, cpl, rpl) == ""); }});
    }
  }
  RunEverywhere(scenarios);
}

TEST_CASE("a selector in memory is two bytes, at the very end of a page too") {
  static constexpr uint32_t kLast = guest::kData + guest::kDataBytes - 2;
  std::vector<Scenario> scenarios;
  for (unsigned cpl : {0u, 1u, 2u, 3u}) {
    scenarios.push_back({Name(cpl),
                         [=](TestMachine& m) {
                           EnterRing(m, cpl, ThreeTimes([](Assembler& a) {
                                       a.mov(edi, kLast);
                                       a.lar(eax, word_ptr(edi));
                                       a.lsl(ecx, word_ptr(edi));
                                       a.verr(word_ptr(edi));
                                       a.setz(bl);
                                       a.verw(word_ptr(edi));
                                       a.setz(bh);
                                     }));
                           m.Set<uint16_t>(guest::kDataFrames + guest::kDataBytes - 2, guest::kData3);
                         },
                         [](TestMachine&, const Outcome& o) {
                           CHECK(o.vector == 3u);
                           CHECK(o.gpr[kEax] == 0x00CF'F300);
                           CHECK(o.gpr[kEcx] == 0xFFFF'FFFF);
                           CHECK((o.gpr[kEbx] & 0xFFFF) == 0x0101);
                         }});
  }
  RunEverywhere(scenarios);
}
