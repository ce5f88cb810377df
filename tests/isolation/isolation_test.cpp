// No guest access leaves the guest's 4 GiB: every addressing form with extreme operands reaches the address cut to 32
// bits, and nothing else in this process.
#include <fmt/core.h>

#include <catch2/catch.hpp>

#include "tests/translator/program.h"

using namespace ring3;
using namespace asmjit;
using namespace asmjit::x86;

namespace {

constexpr uint32_t kAll = guest::kPresent | guest::kWritable | guest::kUser;
constexpr uint32_t kExtremes[] = {0, 1, 0x7FFF'FFFF, 0x8000'0000, 0xFFFF'FFFF};
/// The pages that extreme operands reach, first of all around 0, 2 GiB and 4 GiB; anything else page-faults, which is
/// compared as well.
constexpr uint32_t kPages[] = {0x0000'0000, 0x0000'1000, 0x7FFF'F000, 0x8000'0000,
                               0x8000'1000, 0xFFFF'E000, 0xFFFF'F000};

uint32_t FrameOf(unsigned page) { return guest::kScratchFrames + page * kPageSize; }

void MapPages(TestMachine& machine) {
  for (unsigned i = 0; i < std::size(kPages); ++i) machine.Map(kPages[i], FrameOf(i), kAll);
}

std::vector<uint8_t> Contents(TestMachine& machine) {
  const uint8_t* first = machine.Physical().Flat(GuestPhysical(FrameOf(0)));
  return {first, first + std::size(kPages) * kPageSize};
}

/// Fills the pages with values that tell each address from every other.
void FillPages(TestMachine& machine) {
  std::vector<uint8_t> bytes(std::size(kPages) * kPageSize);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 167 + (i >> 8) * 13 + (i >> 12));
  machine.Write(FrameOf(0), bytes);
}

class Isolation {
 public:
  Isolation() {
    MapPages(translated_);
    MapPages(interpreted_);
  }

  void Compare(const std::function<void(Assembler&)>& write, const std::function<void(Program&)>& adjust) {
    for (unsigned cpl : {3u, 0u}) {
      Program program = MakeProgram(Assemble(guest::kCode + Program().offset, write), 1, cpl);
      program.eflags = eflags::kReserved1 | eflags::kIf;
      adjust(program);
      FillPages(translated_);
      FillPages(interpreted_);
      const Outcome actual = RunOn(translated_, program), expected = RunOn(interpreted_, program);
      const std::string difference = Difference(actual, expected, {});
      const bool same_memory = Contents(translated_) == Contents(interpreted_);
      ++compared;
      if (difference.empty() && same_memory) continue;
      if (++failed <= 10)
        report += Describe(program) + difference + (same_memory ? "" : "  memory at the extremes differs\n");
    }
  }

  unsigned compared = 0, failed = 0;
  std::string report;

 private:
  TestMachine translated_, interpreted_{{.interpreter = true}};
};

void Finish(const Isolation& isolation, unsigned at_least) {
  INFO(isolation.failed << " differ\n" << isolation.report);
  CHECK(isolation.failed == 0);
  CHECK(isolation.compared >= at_least);
}

}  // namespace

TEST_CASE("extreme bases, indices, scales and displacements") {
  Isolation isolation;
  const Gp bases[] = {ebx, esp, ebp};
  for (uint32_t base_value : kExtremes) {
    for (uint32_t index_value : kExtremes) {
      for (uint32_t displacement : kExtremes) {
        const auto disp = static_cast<int32_t>(displacement);
        const auto adjust = [&](Program& p) {
          p.gpr[kEbx] = p.gpr[kEsp] = p.gpr[kEbp] = base_value;
          p.gpr[kEcx] = index_value;
        };
        // All forms in one program would stop at the first fault: one form, one program.
        for (const Gp& base : bases) {
          const unsigned scale = (base_value + index_value + displacement + base.id()) % 4;
          isolation.Compare(
              [&](Assembler& a) {
                a.mov(eax, ptr(base, ecx, scale, disp));
                a.mov(ptr(base, ecx, scale, disp), edx);
              },
              adjust);
          if (index_value == 0) {
            isolation.Compare(
                [&](Assembler& a) {
                  a.mov(al, ptr(base, disp));
                  a.mov(ptr(base, disp), dh);
                  a.movdqu(xmm0, ptr(base, disp));
                },
                adjust);
          }
        }
        isolation.Compare(
            [&](Assembler& a) {
              a.mov(eax, ptr(uint64_t{displacement}, ecx, base_value & 3));
              a.add(ptr(uint64_t{displacement}, ecx, base_value & 3), edx);
            },
            adjust);
      }
    }
  }
  Finish(isolation, 1000);
}

TEST_CASE("segments with a base wrap at 4 GiB, too") {
  Isolation isolation;
  for (uint32_t base_value : kExtremes) {
    for (uint32_t displacement : kExtremes) {
      for (uint32_t goal : {0u, 0x7FFF'FFFEu, 0xFFFF'FFFEu}) {
        isolation.Compare(
            [&](Assembler& a) {
              Mem m = dword_ptr(ebx, ecx, 0, static_cast<int32_t>(displacement));
              m.setSegment(fs);
              a.mov(eax, m);
              a.mov(m, edx);
            },
            [&](Program& p) {
              p.gpr[kEbx] = base_value;
              p.gpr[kEcx] = goal - base_value - displacement - guest::kFsBase;
            });
      }
    }
  }
  Finish(isolation, 150);
}

TEST_CASE("strings, bit strings and stack operations at the ends") {
  Isolation isolation;
  for (uint32_t at : {0u, 1u, 2u, 3u, 0xFFFF'FFFFu, 0xFFFF'FFFEu, 0xFFFF'FFFDu, 0xFFFF'FFFCu, 0x7FFF'FFFEu}) {
    const auto adjust = [&](Program& p) {
      p.gpr[kEsp] = p.gpr[kEbp] = p.gpr[kEbx] = p.gpr[kEsi] = p.gpr[kEdi] = at;
      p.gpr[kEcx] = 3;
    };
    for (bool backwards : {false, true}) {
      isolation.Compare(
          [&](Assembler& a) {
            if (backwards) a.std();
            a.rep().movsd();
            a.rep().stosb();
            a.lodsw();
            a.repne().scasb();
          },
          adjust);
    }
    isolation.Compare(
        [](Assembler& a) {
          a.push(eax);
          a.push(edx);
          a.pop(ecx);
        },
        adjust);
    isolation.Compare(
        [](Assembler& a) {
          a.pop(ecx);
          a.pop(edx);
          a.push(ebp);
        },
        adjust);
    isolation.Compare(
        [](Assembler& a) {
          a.leave();
          a.push(eax);
        },
        adjust);
    isolation.Compare(
        [](Assembler& a) {
          a.push(dword_ptr(esp, 4));
          a.pop(dword_ptr(esp, -8));
        },
        adjust);
    for (int32_t index : {-1, 31, 32, INT32_MAX, INT32_MIN}) {
      isolation.Compare(
          [&](Assembler& a) {
            a.mov(ecx, index);
            a.bts(ptr(ebx), ecx);
            a.btr(ptr(esp, 4), ecx);
          },
          adjust);
    }
  }
  Finish(isolation, 150);
}

TEST_CASE("ESP drifts around 4 GiB by every kind of step") {
  Isolation isolation;
  struct Drift {
    const char* name;
    std::function<void(Assembler&)> step;
  };
  const Drift drifts[] = {{"lea up", [](Assembler& a) { a.lea(esp, ptr(esp, 0x7000'0000)); }},
                          {"lea down", [](Assembler& a) { a.lea(esp, ptr(esp, -0x7000'0000)); }},
                          {"add", [](Assembler& a) { a.add(esp, 0x7FFF'FFFF); }},
                          {"sub", [](Assembler& a) { a.sub(esp, 0x7FFF'FFFF); }},
                          {"frames",
                           [](Assembler& a) {
                             a.mov(ebp, esp);
                             a.lea(ebp, ptr(ebp, 0x4000'0000));
                             a.mov(esp, ebp);
                           }},
                          {"inc", [](Assembler& a) {
                             a.inc(esp);
                             a.dec(ebp);
                             a.xchg(esp, ebp);
                           }}};
  for (const Drift& drift : drifts) {
    for (uint32_t steps : {1u, 5u, 1000u}) {
      isolation.Compare(
          [&](Assembler& a) {
            Label top = a.newLabel();
            a.mov(ecx, steps);
            a.bind(top);
            drift.step(a);
            a.loop(top);
            a.mov(eax, esp);
            a.mov(edx, ptr(esp));  // wherever that is
          },
          [](Program&) {});
    }
  }
  // POP without a commit to memory between: 4 KiB at a time over the top.
  isolation.Compare(
      [](Assembler& a) {
        Label top = a.newLabel();
        a.mov(esp, 0xFFFF'FFF0);
        a.mov(ecx, 16);
        a.bind(top);
        a.pop(eax);
        a.add(edx, eax);
        a.loop(top);
      },
      [](Program&) {});
  isolation.Compare(
      [](Assembler& a) {
        Label top = a.newLabel();
        a.mov(esp, 0x10);
        a.mov(ecx, 16);
        a.bind(top);
        a.push(ecx);
        a.loop(top);
      },
      [](Program&) {});
  Finish(isolation, 36);
}

TEST_CASE("BSF, BSR and CMPXCHG that leave ESP or EBP alone keep them in the window") {
  Isolation isolation;
  for (const Gp& reg : {esp, ebp}) {
    const auto use = [reg](Assembler& a) {
      a.mov(edx, ptr(reg));
      a.mov(ptr(reg, 4), edx);
      a.mov(edx, reg);
    };
    isolation.Compare([&](Assembler& a) { a.xor_(eax, eax), a.bsf(reg, eax), use(a); }, [](Program&) {});
    isolation.Compare([&](Assembler& a) { a.xor_(eax, eax), a.bsr(reg, eax), use(a); }, [](Program&) {});
    isolation.Compare([&](Assembler& a) { a.xor_(eax, eax), a.cmpxchg(reg, ecx), use(a); }, [](Program&) {});
    isolation.Compare([&](Assembler& a) { a.mov(eax, reg), a.mov(ecx, reg), a.cmpxchg(reg, ecx), use(a); },
                      [](Program&) {});
  }
  Finish(isolation, 16);
}

TEST_CASE("reads all over the 4 GiB see guest memory or fault") {
  // Every 509th page, at CPL 0 and 3; nothing but the mapped pages may be readable, and those hold what was put there.
  TestMachine machine;
  MapPages(machine);
  FillPages(machine);
  const Bytes handler = Assemble(guest::kLowCode, [](Assembler& a) {
    a.add(esp, 4);
    a.inc(esi);
    a.add(dword_ptr(esp), 2);  // skip the load
    a.iretd();
  });
  for (unsigned cpl : {3u, 0u}) {
    Program program = MakeProgram(Assemble(guest::kCode + Program().offset,
                                           [](Assembler& a) {
                                             Label top = a.newLabel();
                                             a.bind(top);
                                             a.mov(eax, ptr(ebx));  // two bytes
                                             a.add(ebx, 509 * kPageSize);
                                             a.dec(ecx);
                                             a.jnz(top);
                                           }),
                                  1, cpl);
    constexpr uint32_t kReads = (1u << 20) / 509;
    program.gpr[kEbx] = 0x1000'0000 + 0x123;
    program.gpr[kEcx] = kReads;
    program.gpr[kEsi] = 0;
    machine.Write(guest::kLowCode, handler);
    Load(machine, program);
    machine.SetGate(14, guest::kLowCode, 0);
    uint32_t expected = 0;
    for (uint32_t i = 0; i < kReads; ++i) {
      const WalkResult walk =
          Peek(machine.Physical(), machine.Mmu().Paging(), GuestLinear(program.gpr[kEbx] + i * 509 * kPageSize));
      expected += !walk.ok || (cpl == 3 && !walk.translation.user);
    }
    const Outcome out = machine.Run();
    CHECK(out.vector == 3u);
    CHECK(out.gpr[kEsi] == expected);
    CHECK(expected > kReads / 2);
  }
}
