// EFLAGS as PUSHF shows it and POPF and IRET set it: every CPL, every IOPL, IF, VM and the rest, with 16- and 32-bit
// operands. Expectations are the manual's (SDM 2B POPF/POPFD and PUSHF/PUSHFD, 2A IRET/IRETD, STI, CLI).
#include <fmt/core.h>

#include <catch2/catch.hpp>

#include "tests/redpill/rings.h"

using namespace ring3;
using namespace asmjit;
using namespace asmjit::x86;

namespace {

constexpr uint32_t kResults = guest::kData + 0x100;
constexpr uint32_t kArithmetic = eflags::kCf | eflags::kPf | eflags::kAf | eflags::kZf | eflags::kSf | eflags::kOf;
/// What anybody may change, TF excepted, which would end the run.
constexpr uint32_t kFree = kArithmetic | eflags::kDf | eflags::kNt | eflags::kAc | eflags::kId;

/// Images that POPF and IRET are given. Bits that are reserved or beyond one's rights are in some of them.
constexpr uint32_t kImages[] = {
    0,
    eflags::kIf,
    eflags::kIopl,
    eflags::kIf | eflags::kIopl,
    eflags::kIf | 1u << eflags::kIoplShift,
    eflags::kIf | 2u << eflags::kIoplShift | kArithmetic,
    kArithmetic | eflags::kDf,
    eflags::kId | eflags::kAc | eflags::kIf,
    eflags::kRf | eflags::kIf,
    eflags::kVif | eflags::kVip | eflags::kIf,
    0xFFC0'8028 | eflags::kIf,  // the reserved bits, all set
    ~(eflags::kTf | eflags::kNt | eflags::kVm) & ~0u,
};

/// Both end with the flags that PUSHF may not show.
uint32_t Shown(uint32_t flags) {
  return (flags & eflags::kDefined & ~(eflags::kRf | eflags::kVm)) | eflags::kReserved1;
}

/// EFLAGS after POPF (or IRET to the same level), as PUSHF shows it.
uint32_t After(uint32_t before, uint32_t image, unsigned cpl, unsigned iopl, bool wide, bool iret) {
  uint32_t mask = kFree;
  if (cpl <= iopl) mask |= eflags::kIf;
  if (cpl == 0) mask |= eflags::kIopl;
  if (cpl == 0 && iret) mask |= eflags::kVif | eflags::kVip;
  if (!wide) mask &= 0xFFFF;
  return Shown((before & ~mask) | (image & mask));
}

/// Each image, wide and narrow: sets the flags to what they were at first, pops, pushes, stores.
void PopEachImage(Assembler& a, uint32_t before) {
  uint32_t at = kResults;
  for (uint32_t image : kImages) {
    for (bool wide : {true, false}) {
      a.push(before);
      a.popfd();
      a.push(image);
      wide ? a.popfd() : a.popf();
      a.pushfd();
      a.cld();
      a.pop(eax);
      a.mov(ptr(uint64_t{at}), eax);
      if (!wide) a.lea(esp, ptr(esp, 2));
      at += 4;
    }
  }
}

/// The same by IRET to the next instruction.
void ReturnEachImage(Assembler& a, uint32_t before, unsigned cpl) {
  uint32_t at = kResults;
  for (uint32_t image : kImages) {
    Label next = a.newLabel();
    a.push(before);
    a.popfd();
    a.push(image);
    a.push(rings::Code(cpl));
    a.lea(eax, ptr(next));
    a.push(eax);
    a.iretd();
    a.bind(next);
    a.pushfd();
    a.cld();
    a.pop(dword_ptr(uint64_t{at}));
    at += 8;
  }
}

std::string Compare(const Outcome& o, uint32_t before, unsigned cpl, bool iret) {
  std::string text;
  uint32_t at = kResults;
  const unsigned iopl = (before & eflags::kIopl) >> eflags::kIoplShift;
  uint32_t current = before;  // IF and IOPL may not be had back
  for (uint32_t image : kImages) {
    for (bool wide : {true, false}) {
      if (iret && !wide) {
        at += 4;
        continue;
      }
      const unsigned now = (current & eflags::kIopl) >> eflags::kIoplShift;
      current = After(current, before, cpl, now, true, false);
      const unsigned then = (current & eflags::kIopl) >> eflags::kIoplShift;
      current = After(current, image, cpl, then, wide, iret);
      if (DwordAt(o, at) != current) {
        text += fmt::format("CPL {} IOPL {} before {:08x} image {:08x}{}: {:08x}, expected {:08x}\n", cpl, iopl, before,
                            image, wide ? "" : " (16 bits)", DwordAt(o, at), current);
      }
      current &= ~eflags::kDf;  // CLD
      at += 4;
    }
  }
  return text;
}

/// Starts with these flags, IOPL included.
std::function<void(TestMachine&)> At(unsigned cpl, uint32_t flags, const Bytes& code) {
  return [=](TestMachine& m) {
    EnterRing(m, cpl, code);
    m.State().eflags = flags | eflags::kReserved1;
  };
}

const std::function<void(TestMachine&, const Outcome&)> kGeneralProtection = [](TestMachine&, const Outcome& o) {
  CHECK(o.vector == 13u);
  CHECK(o.error_code == 0);
  CHECK(o.eip == guest::kCode);
};

template <class Test>
void ForFlags(Test test) {
  for (unsigned cpl : {0u, 1u, 2u, 3u}) {
    for (uint32_t iopl : {0u, 1u, 2u, 3u}) {
      for (uint32_t interrupts : {0u, eflags::kIf}) test(cpl, iopl, iopl << eflags::kIoplShift | interrupts);
    }
  }
}

/// Loads each image at each level with each of the flags that decide, by `load`, and looks at what is seen then.
template <class Load>
void LoadEverywhere(const char* name, uint32_t also, bool iret, Load load) {
  std::vector<Scenario> scenarios;
  ForFlags([&](unsigned cpl, unsigned, uint32_t flags) {
    const uint32_t before = flags | eflags::kReserved1 | also;
    const Bytes code = Assemble(guest::kCode, [=](Assembler& a) {
      load(a, before, cpl);
      a.int3();
    });
    scenarios.push_back({name, At(cpl, before, code),
                         [=](TestMachine&, const Outcome& o) { CHECK(Compare(o, before, cpl, iret) == ""); }});
  });
  RunEverywhere(scenarios);
}

}  // namespace

TEST_CASE("POPF changes what the level may change, silently, and PUSHF shows it") {
  LoadEverywhere("popf", eflags::kCf, false, [](Assembler& a, uint32_t before, unsigned) { PopEachImage(a, before); });
}

TEST_CASE("IRET to the same level changes what POPF does, and VIF and VIP at CPL 0") {
  LoadEverywhere("iret", eflags::kZf, true, ReturnEachImage);
}

TEST_CASE("CLI and STI fault above IOPL and change IF below") {
  std::vector<Scenario> scenarios;
  ForFlags([&](unsigned cpl, unsigned iopl, uint32_t flags) {
    for (bool set : {false, true}) {
      const Bytes code = {static_cast<uint8_t>(set ? 0xFB : 0xFA), 0x90, 0x9C, 0x58, 0xCC};  // pushfd; pop eax
      auto check = kGeneralProtection;
      if (cpl <= iopl) {
        check = [=](TestMachine&, const Outcome& o) {
          CHECK(o.gpr[kEax] == ((flags & ~eflags::kIf) | eflags::kReserved1 | (set ? eflags::kIf : 0)));
        };
      }
      scenarios.push_back({"cli, sti", At(cpl, flags, code), check});
    }
  });
  RunEverywhere(scenarios);
}

TEST_CASE("POPF and IRET in V86 mode depend on IOPL, and VM is not to be seen") {
  const Bytes pop_wide = {0x66, 0x68, 0xD7, 0x3E, 0x2B, 0x00,  // push dword 002B3ED7h: VM, AC, ID, IF, IOPL, no TF
                          0x66, 0x9D,                          // popfd
                          0x66, 0x9C, 0x66, 0x58, 0xCC};       // pushfd; pop eax; int3
  const Bytes pop_narrow = {0x68, 0xD7, 0x0C, 0x9D, 0x66, 0x9C, 0x66, 0x58, 0xCC};  // IF and IOPL clear
  const Bytes iret = {0x68, 0xD7, 0x0C, 0x0E, 0x68, 0x08, 0x00, 0xCF,               // push flags, cs, 8; iret
                      0x66, 0x9C, 0x66, 0x58, 0xCC};
  constexpr uint32_t kLow = 0x0CD7 & eflags::kDefined, kIopl3 = eflags::kIopl | eflags::kReserved1;
  std::vector<Scenario> scenarios;
  const auto shows = [](uint32_t flags) {
    return [=](TestMachine&, const Outcome& o) {
      CHECK(o.vector == 3u);
      CHECK(o.gpr[kEax] == flags);
      CHECK((o.eflags & eflags::kVm) == eflags::kVm);
    };
  };
  const auto run = [](unsigned iopl, const Bytes& code) { return [=](TestMachine& m) { EnterV86(m, iopl, code); }; };
  // INT3 needs no IOPL; IOPL itself never changes here.
  scenarios.push_back({"popfd", run(3, pop_wide), shows((0x002B'3ED7 & kFree) | eflags::kIf | kIopl3)});
  scenarios.push_back({"popf", run(3, pop_narrow), shows(kLow | kIopl3)});
  scenarios.push_back({"iret", run(3, iret), shows(kLow | kIopl3)});
  const Bytes faulting[] = {{0x9C}, {0x66, 0x9C}, {0x9D}, {0x66, 0x9D}, {0xCF}, {0xFA}, {0xFB}, {0xCD, 0x21}};
  for (unsigned iopl : {0u, 1u, 2u}) {
    for (const Bytes& code : faulting) {
      scenarios.push_back({"faults", run(iopl, code), [](TestMachine&, const Outcome& o) {
                             CHECK(o.vector == 13u);
                             CHECK(o.error_code == 0);
                             CHECK(o.eip == 0);
                             CHECK(o.selectors[1] == rings::kV86Cs);
                           }});
    }
  }
  RunEverywhere(scenarios);
}

TEST_CASE("IRET from ring 0 enters V86 mode, from elsewhere VM is ignored") {
  std::vector<Scenario> scenarios;
  for (unsigned cpl : {0u, 1u, 3u}) {
    const Bytes code = Assemble(guest::kCode, [=](Assembler& a) {
      Label next = a.newLabel();
      if (cpl == 0) {
        for (uint16_t s : {rings::kV86Ds, rings::kV86Ds, rings::kV86Ds, rings::kV86Ds, rings::kV86Ss}) a.push(s);
        a.push(rings::kV86Sp);
      }
      a.push(eflags::kVm | eflags::kIf | eflags::kReserved1);
      a.push(cpl == 0 ? rings::kV86Cs : rings::Code(cpl));
      a.lea(eax, ptr(next));
      if (cpl == 0) a.xor_(eax, eax);
      a.push(eax);
      a.iretd();
      a.bind(next);
      a.int3();
    });
    scenarios.push_back(
        {"iret",
         [=](TestMachine& m) {
           EnterV86(m, 3, {0x8C, 0xC8, 0x66, 0x9C, 0xCC});  // mov ax, cs; pushfd, which faults at IOPL 0
           EnterRing(m, cpl, code);
         },
         [=](TestMachine&, const Outcome& o) {
           CHECK(o.vector == (cpl ? 3u : 13u));
           CHECK((o.eflags & eflags::kVm) == (cpl ? 0 : eflags::kVm));
           if (cpl == 0) CHECK((o.gpr[kEax] & 0xFFFF) == rings::kV86Cs);
         }});
  }
  RunEverywhere(scenarios);
}
