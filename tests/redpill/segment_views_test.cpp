// Segment registers and far transfers at each privilege level: RPL as it is seen, which selectors may be loaded and
// jumped to, whom INT n lets in. Expectations are the manual's (SDM 2A and 2B: MOV, PUSH, POP, JMP, CALL, INT n;
// 3A 5.8).
#include <fmt/core.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <set>

#include "tests/redpill/rings.h"

using namespace ring3;
using namespace asmjit;
using namespace asmjit::x86;

namespace {

// In the data region, reached through SS, which is always in order.
constexpr uint32_t kVector = guest::kData + 4, kError = kVector + 4, kSkip = kVector + 8,
                   kPointer = guest::kData + 0x20, kSelectorTable = guest::kData + 0x100,
                   kResults = guest::kData + 0x1000;
constexpr uint32_t kHandlers = guest::kLowCode;
constexpr unsigned kGp = 13, kNotPresent = 11, kStackFault = 12;
constexpr unsigned kDescriptors = 256, kNull = kDescriptors, kSelectors = kDescriptors + 4, kResultBytes = 12;

Mem InStack(Mem memory) {
  memory.setSegment(ss);
  return memory;
}
Mem Slot(uint32_t address) { return InStack(Mem(uint64_t{address}, 4)); }

/// Handlers of #NP, #SS and #GP note vector and error code and skip the instruction.
void NoteFaults(TestMachine& m) {
  uint32_t at = kHandlers;
  for (unsigned vector : {kNotPresent, kStackFault, kGp}) {
    m.Write(at, Assemble(at, [=](Assembler& a) {
              a.mov(Slot(kVector), vector);
              a.pop(Slot(kError));
              a.push(eax);
              a.mov(eax, Slot(kSkip));
              a.add(InStack(dword_ptr(esp, 4)), eax);
              a.pop(eax);
              a.iretd();
            }));
    m.SetGate(static_cast<uint8_t>(vector), at, 0);
    at += 0x40;
  }
}

/// Flat segments of every type, with every DPL, present and absent; then system descriptors.
uint64_t TestDescriptor(unsigned index) {
  const unsigned type = index % 16, dpl = index / 16 % 4, present = index / 64 % 2, segment = index / 128 ^ 1;
  return RawDescriptor(0, 0xFFFFF, static_cast<uint16_t>(0xC000 | present << 7 | dpl << 5 | segment << 4 | type));
}

uint16_t TestSelector(unsigned index, unsigned rpl) {
  const uint16_t others[] = {0, rings::kBeyond, 0x24, 0x2C};  // null, past the GDT, in the LDT and past it
  const unsigned selector = index < kDescriptors ? rings::kFree + 8 * index : others[index - kDescriptors];
  return static_cast<uint16_t>(selector | rpl);
}

void PutSelectors(TestMachine& m, unsigned rpl) {
  for (unsigned i = 0; i < kDescriptors; ++i) {
    SetDescriptor(m, static_cast<uint16_t>(rings::kFree + 8 * i), TestDescriptor(i));
  }
  m.Set<uint64_t>(rings::kLdtBase + 0x20, RawDescriptor(0, 0xFFFFF, 0xC0F3));
  for (unsigned i = 0; i < kSelectors; ++i) {
    m.Set<uint16_t>(guest::kDataFrames + kSelectorTable - guest::kData + 2 * i, TestSelector(i, rpl));
  }
}

struct Fate {
  unsigned vector = 0;
  uint32_t error = 0;
  bool operator==(const Fate&) const = default;
};

struct Selector {
  uint16_t value;
  bool null, in_table;
  unsigned type, dpl, rpl;
  bool segment, present;
  bool Code() const { return segment && (type & 8); }
  bool Conforming() const { return Code() && (type & 4); }
  uint32_t Error() const { return value & 0xFFFCu; }
};

Selector Decode(unsigned index, unsigned rpl) {
  const uint16_t value = TestSelector(index, rpl);
  const bool in_ldt = index == kDescriptors + 2;
  const uint64_t raw = index < kDescriptors ? TestDescriptor(index) : RawDescriptor(0, 0xFFFFF, 0xC0F3);
  const auto high = static_cast<uint32_t>(raw >> 32);
  return {value, index == kNull,        index < kDescriptors || in_ldt, high >> 8 & 15, high >> 13 & 3,
          rpl,   (high >> 12 & 1) != 0, (high >> 15 & 1) != 0};
}

Fate DataLoad(const Selector& s, unsigned cpl) {
  if (s.null) return {};
  const bool readable = s.segment && (!s.Code() || (s.type & 2));
  const bool reachable = s.Conforming() || (s.dpl >= cpl && s.dpl >= s.rpl);
  if (!s.in_table || !readable || !reachable) return {kGp, s.Error()};
  if (!s.present) return {kNotPresent, s.Error()};
  return {};
}

Fate StackLoad(const Selector& s, unsigned cpl) {
  if (s.null) return {kGp, 0};
  const bool writable = s.segment && !s.Code() && (s.type & 2);
  if (!s.in_table || s.rpl != cpl || !writable || s.dpl != cpl) return {kGp, s.Error()};
  if (!s.present) return {kStackFault, s.Error()};
  return {};
}

Fate CodeTransfer(const Selector& s, unsigned cpl) {
  if (s.null) return {kGp, 0};
  const bool reachable = s.Conforming() ? s.dpl <= cpl : s.rpl <= cpl && s.dpl == cpl;
  if (!s.in_table || !s.Code() || !reachable) return {kGp, s.Error()};
  if (!s.present) return {kNotPresent, s.Error()};
  return {};
}

/// `attempt` with each of the first `selectors` test selectors in AX: fault, error code, and what ECX has afterwards.
Bytes TryEach(unsigned selectors, const std::function<void(Assembler&)>& attempt) {
  return ThreeTimes([&](Assembler& a) {
    Label top = a.newLabel();
    a.xor_(esi, esi);
    a.mov(edi, kResults);
    a.bind(top);
    a.movzx(eax, InStack(Mem(esi, kSelectorTable, 2)));
    a.mov(Slot(kVector), 0);
    a.mov(Slot(kError), 0);
    a.mov(ecx, 0xFFFF'FFFF);
    attempt(a);
    for (uint32_t i = 0; i < 2; ++i) {
      a.mov(edx, Slot(i ? kError : kVector));
      a.mov(InStack(dword_ptr(edi, static_cast<int>(4 * i))), edx);
    }
    a.mov(InStack(dword_ptr(edi, 8)), ecx);
    a.add(edi, kResultBytes);
    a.add(esi, 2);
    a.cmp(esi, 2 * selectors);
    a.jne(top);
  });
}

/// `seen` is what ECX must hold after a success.
std::string CompareFates(const Outcome& o, unsigned selectors, unsigned cpl, unsigned rpl,
                         Fate (*expected)(const Selector&, unsigned),
                         const std::function<uint32_t(const Selector&)>& seen) {
  std::string text;
  for (unsigned i = 0; i < selectors; ++i) {
    const uint32_t at = kResults + i * kResultBytes;
    const Selector s = Decode(i, rpl);
    const Fate fate = expected(s, cpl), actual{DwordAt(o, at), DwordAt(o, at + 4)};
    const uint32_t left = fate.vector ? 0xFFFF'FFFF : seen(s);
    if (actual == fate && DwordAt(o, at + 8) == left) continue;
    text += fmt::format("selector {:04x} type {:x} dpl {}: #{}({:x}) {:08x}, expected #{}({:x}) {:08x}\n", s.value,
                        s.type | s.segment << 4, s.dpl, actual.vector, actual.error, DwordAt(o, at + 8), fate.vector,
                        fate.error, left);
  }
  return text;
}

std::function<void(TestMachine&)> Ready(unsigned cpl, unsigned rpl, unsigned skip, const Bytes& code) {
  return [=](TestMachine& m) {
    EnterRing(m, cpl, code);
    NoteFaults(m);
    PutSelectors(m, rpl);
    m.Set<uint32_t>(guest::kDataFrames + kSkip - guest::kData, skip);
  };
}

template <class Test>
void ForLevels(Test test) {
  for (unsigned cpl : {0u, 1u, 2u, 3u}) {
    for (unsigned rpl : std::set<unsigned>{0, cpl, 3}) test(cpl, rpl);
  }
}

}  // namespace

TEST_CASE("segment registers show the selectors that were loaded, RPL and all") {
  static constexpr uint32_t kMarker = 0x5555'5555;
  std::vector<Scenario> scenarios;
  for (unsigned cpl : {0u, 1u, 2u, 3u}) {
    const auto body = [](Assembler& a) {
      uint32_t at = kResults;
      const SReg all[] = {es, cs, ss, ds, fs, gs};
      for (const SReg& s : all) {
        a.mov(eax, kMarker);
        a.mov(eax, s);
        a.mov(dword_ptr(uint64_t{at}), eax);
        a.mov(eax, kMarker);
        a.mov(ax, s);
        a.mov(dword_ptr(uint64_t{at + 4}), eax);
        a.mov(dword_ptr(uint64_t{at + 8}), kMarker);
        a.mov(word_ptr(uint64_t{at + 8}), s);
        a.push(s);
        a.pop(eax);
        a.mov(word_ptr(uint64_t{at + 12}), ax);
        at += 16;
      }
    };
    scenarios.push_back({fmt::format("CPL {}", cpl),
                         [=](TestMachine& m) {
                           EnterRing(m, cpl, ThreeTimes(body));
                           m.State().Segment(Seg::kGs).selector = 3;  // null, but for its RPL
                           m.State().Segment(Seg::kGs).attributes = 0;
                         },
                         [=](TestMachine&, const Outcome& o) {
                           const uint16_t data = rings::Data(cpl);
                           const uint16_t expected[] = {data, rings::Code(cpl), data, data, guest::kFs, 3};
                           for (uint32_t i = 0; i < std::size(expected); ++i) {
                             const uint32_t at = kResults + 16 * i;
                             CHECK(DwordAt(o, at) == expected[i]);
                             CHECK(DwordAt(o, at + 4) == (kMarker & 0xFFFF'0000 | expected[i]));
                             CHECK(DwordAt(o, at + 8) == (kMarker & 0xFFFF'0000 | expected[i]));
                             CHECK(WordAt(o, at + 12) == expected[i]);
                           }
                         }});
  }
  RunEverywhere(scenarios);
}

TEST_CASE("loads of ES, DS, FS, GS and SS with every kind of selector") {
  for (const SReg& s : {es, ds, fs, gs, ss}) {
    std::vector<Scenario> scenarios;
    const bool stack = s == ss;
    const Bytes code = TryEach(kSelectors, [&](Assembler& a) {
      a.mov(edx, s);
      a.mov(s, eax);  // two bytes
      a.mov(ecx, s);
      a.mov(s, edx);
      a.mov(edx, Slot(kVector));  // a fault leaves the register as it was: ECX is the old selector then
      a.neg(edx);
      a.sbb(edx, edx);
      a.or_(ecx, edx);
    });
    ForLevels([&](unsigned cpl, unsigned rpl) {
      if ((s == es || s == gs) && rpl != cpl) return;  // no other rules than DS and FS
      scenarios.push_back({fmt::format("segment {} CPL {} RPL {}", s.id(), cpl, rpl), Ready(cpl, rpl, 2, code),
                           [=](TestMachine&, const Outcome& o) {
                             CHECK(CompareFates(o, kSelectors, cpl, rpl, stack ? StackLoad : DataLoad,
                                                [](const Selector& s) { return s.value; }) == "");
                           }});
    });
    RunEverywhere(scenarios);
  }
}

TEST_CASE("far jumps and calls to every kind of segment; CS shows CPL as its RPL") {
  // System descriptors, the second half, would be gates.
  constexpr unsigned kSegments = kDescriptors / 2;
  for (bool call : {false, true}) {
    std::vector<Scenario> scenarios;
    ForLevels([&](unsigned cpl, unsigned rpl) {
      const Bytes code = TryEach(kSegments, [=](Assembler& a) {
        Label target = a.newLabel(), home = a.newLabel();
        a.lea(edx, ptr(target));
        a.mov(Slot(kPointer), edx);
        a.mov(Slot(kPointer + 4), eax);
        a.mov(ebx, esp);
        a.db(0x36);  // ss:
        a.db(0xFF);
        a.db(call ? 0x1D : 0x2D);
        a.dd(kPointer);  // seven bytes
        a.jmp(home);
        a.bind(target);
        a.mov(ecx, cs);
        if (call) {
          a.mov(edx, InStack(dword_ptr(esp, 4)));
          a.shl(edx, 16);
          a.or_(ecx, edx);
        }
        a.mov(esp, ebx);
        a.db(0xEA);
        a.embedLabel(home, 4);
        a.dw(rings::Code(cpl));
        a.bind(home);
      });
      scenarios.push_back({fmt::format("{} CPL {} RPL {}", call ? "call" : "jmp", cpl, rpl), Ready(cpl, rpl, 7, code),
                           [=](TestMachine&, const Outcome& o) {
                             CHECK(CompareFates(o, kSegments, cpl, rpl, CodeTransfer, [=](const Selector& s) {
                                     return (s.value & 0xFFFCu) | cpl | (call ? uint32_t{rings::Code(cpl)} << 16 : 0);
                                   }) == "");
                           }});
    });
    RunEverywhere(scenarios);
  }
}

TEST_CASE("INT n: the gate's DPL decides, and the frame shows CPL in CS") {
  std::vector<Scenario> scenarios;
  for (unsigned cpl : {0u, 1u, 2u, 3u}) {
    for (unsigned dpl : {0u, 1u, 2u, 3u}) {
      const auto vector = static_cast<uint8_t>(0x40 + dpl);
      const Bytes code = ThreeTimes([=](Assembler& a) {
        a.mov(Slot(kVector), 0);
        a.mov(Slot(kError), 0);
        a.int_(vector);
      });
      scenarios.push_back({fmt::format("CPL {} DPL {}", cpl, dpl),
                           [=](TestMachine& m) {
                             EnterRing(m, cpl, code);
                             NoteFaults(m);
                             m.Set<uint32_t>(guest::kDataFrames + kSkip - guest::kData, 2);
                             m.Write(kHandlers + 0x200, Assemble(kHandlers + 0x200, [](Assembler& a) {
                                       a.mov(eax, cs);
                                       a.mov(ebx, InStack(dword_ptr(esp, 4)));
                                       a.mov(ecx, InStack(dword_ptr(esp, 8)));
                                       a.pushfd();
                                       a.pop(edx);
                                       a.iretd();
                                     }));
                             m.SetGate(vector, kHandlers + 0x200, dpl);
                           },
                           [=](TestMachine&, const Outcome& o) {
                             const bool faults = cpl > dpl;
                             CHECK(o.vector == 3u);
                             CHECK(DwordAt(o, kVector) == (faults ? kGp : 0));
                             CHECK(DwordAt(o, kError) == (faults ? vector * 8u + 2 : 0));
                             if (faults) return;
                             CHECK(o.gpr[kEax] == guest::kCode0);
                             CHECK(o.gpr[kEbx] == rings::Code(cpl));
                             CHECK((o.gpr[kEcx] & eflags::kIf) == eflags::kIf);
                             CHECK((o.gpr[kEdx] & eflags::kIf) == 0);
                           }});
    }
  }
  RunEverywhere(scenarios);
}
