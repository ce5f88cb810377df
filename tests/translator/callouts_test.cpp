// Instructions that are executed in callouts, again and again so that the fast way is taken, against the interpreter:
// with every bit of the tables that they read changed between two executions, and with kicks.
#include <fmt/core.h>

#include <catch2/catch.hpp>
#include <optional>

#include "tests/translator/kick_timer.h"
#include "tests/translator/program.h"

using namespace ring3;
using namespace asmjit;
using namespace asmjit::x86;

namespace {

constexpr uint8_t kVector = 0x40;
constexpr uint32_t kHandler = guest::kLowCode, kCountdown = 0x9'0000, kResults = 0x9'0100, kResultBytes = 0x100;
constexpr uint32_t kRounds = 6, kChangeAfter = 3;

/// Four bytes of the guest's own tables that its kernel changes in the middle of the program.
struct Change {
  uint32_t address = kResults + kResultBytes, mask = 0;
};

struct Scenario {
  unsigned cpl = 3;
  Bytes code, handler;
  uint32_t rounds = kRounds;
};

struct Result {
  std::optional<Outcome> outcome;  // nothing: the processor shut down, or ran on
  bool ran_on = false;
  Bytes tables;  // GDT to IDT, kernel stack, results
};

Result RunScenario(TestMachine& machine, const Scenario& scenario, std::optional<uint64_t> kick_every_ns = {}) {
  machine.Reset(scenario.cpl);
  machine.SetGate(kVector, kHandler, 3);
  machine.LoadCode(scenario.code, 0);
  machine.Write(kHandler, scenario.handler);
  machine.Set<uint32_t>(kCountdown, kChangeAfter);
  machine.Write(kResults, Bytes(kResultBytes));
  machine.Write(guest::kKernelStackTop - 0x100, Bytes(0x100));
  machine.Write(guest::kStackFrames, Bytes(guest::kStackBytes));
  CpuState& state = machine.State();
  state.sysenter_cs = guest::kCode0;
  state.sysenter_esp = guest::kKernelStackTop;
  state.sysenter_eip = kHandler;
  for (uint32_t gpr : {kEax, kEcx, kEdx, kEbx, kEbp, kEsi, kEdi}) state.gpr[gpr] = 0x1111'1111 * gpr;
  state.gpr[kEbp] = scenario.rounds;
  Result result;
  std::optional<KickTimer> kicks;
  if (kick_every_ns) kicks.emplace(*kick_every_ns);
  try {
    result.outcome = machine.Run();
  } catch (const GuestShutDown&) {
  } catch (const GuestRunsOn&) {
    result.ran_on = true;
  }
  kicks.reset();
  for (const auto& [from, bytes] :
       {std::pair{guest::kGdt, 0x2800u}, {guest::kKernelStackTop - 0x100, 0x100u}, {kResults, kResultBytes}}) {
    const uint8_t* memory = machine.Physical().Flat(GuestPhysical(from));
    result.tables.insert(result.tables.end(), memory, memory + bytes);
  }
  return result;
}

/// The machines are kept, as what is slow about them is making them.
struct Machines {
  TestMachine translated{{.most_steps = 100'000}}, interpreted{{.interpreter = true, .most_steps = 100'000}};

  void Compare(const Scenario& scenario, const std::string& name) {
    const Result expected = RunScenario(interpreted, scenario);
    if (expected.ran_on) return;  // the change led into nothing
    const Result actual = RunScenario(translated, scenario);
    INFO(name);
    CHECK(actual.outcome.has_value() == expected.outcome.has_value());
    if (actual.outcome && expected.outcome) CHECK(Difference(*actual.outcome, *expected.outcome, {}) == "");
    CHECK((actual.tables == expected.tables));
  }

  uint64_t Done(Callout callout) { return translated.Engine().Callouts().done[static_cast<unsigned>(callout)]; }
};

/// Changes memory once, when the countdown ends. Uses no register, but flags.
void EmitChange(Assembler& a, const Change& change) {
  Label not_yet = a.newLabel();
  a.dec(dword_ptr(kCountdown));
  a.jnz(not_yet);
  a.xor_(dword_ptr(change.address), change.mask);
  a.bind(not_yet);
}

Bytes Loop(const std::function<void(Assembler&)>& body) {
  return Assemble(guest::kCode, [&](Assembler& a) {
    Label top = a.newLabel();
    a.bind(top);
    body(a);
    a.dec(ebp);
    a.jnz(top);
    a.int3();
  });
}

Scenario InterruptAndReturn(unsigned cpl, const Change& change, uint32_t flags = 0) {
  return {cpl, Loop([](Assembler& a) {
            a.stc();
            a.int_(kVector);
            a.pushfd();
            a.lea(esp, ptr(esp, -4));
          }),
          Assemble(kHandler, [&](Assembler& a) {
            EmitChange(a, change);
            a.pushfd();
            a.pop(dword_ptr(kResults));
            if (flags) a.xor_(dword_ptr(esp, 8), flags);
            a.iretd();
          })};
}

Scenario SystemCall() {
  return {3, Loop([](Assembler& a) {
            Label back = a.newLabel();
            a.mov(edx, imm(guest::kCode + 9));
            a.mov(ecx, esp);
            a.sysenter();
            a.bind(back);
            a.add(eax, 1);
          }),
          Assemble(kHandler, [](Assembler& a) {
            a.inc(dword_ptr(kResults));
            a.sysexit();
          })};
}

Scenario SegmentLoads(const Change& change) {
  return {0,
          Loop([&](Assembler& a) {
            EmitChange(a, change);
            for (uint16_t selector : {guest::kFs, guest::kGs, guest::kData3, uint16_t{0}, guest::kReadOnly}) {
              a.mov(eax, selector);
              a.mov(fs, ax);
              a.push(eax);
              a.mov(es, word_ptr(esp));
              a.pop(gs);
              if (selector) {
                a.mov(ecx, dword_ptr(guest::kCode));
                Mem source = dword_ptr(selector == guest::kFs || selector == guest::kGs ? 0 : guest::kData);
                source.setSegment(fs);
                a.mov(ecx, source);
                a.add(edx, ecx);
              }
            }
          }),
          {}};
}

void ForEachBit(std::span<const uint32_t> words, const std::function<void(const Change&, const std::string&)>& run) {
  for (uint32_t address : words) {
    for (unsigned bit = 0; bit < 32; ++bit) run({address, 1u << bit}, fmt::format("{:08x} bit {}", address, bit));
  }
}

std::vector<uint32_t> Descriptors(std::initializer_list<uint16_t> selectors) {
  std::vector<uint32_t> words;
  for (uint16_t selector : selectors) {
    for (uint32_t word : {0u, 4u}) words.push_back(guest::kGdt + (selector & ~7u) + word);
  }
  return words;
}

}  // namespace

TEST_CASE("INT n and IRET in callouts leave what the interpreter leaves") {
  Machines machines;
  for (unsigned cpl : {3u, 0u}) {
    machines.Compare(InterruptAndReturn(cpl, {}), fmt::format("CPL {}", cpl));
    CHECK(machines.Done(Callout::kInterrupt) >= (3 - cpl / 3) * (kRounds - 2) / 3);
    CHECK(machines.Done(Callout::kInterruptReturn) > 0);
    for (unsigned bit = 0; bit < 22; ++bit) {
      machines.Compare(InterruptAndReturn(cpl, {}, 1u << bit), fmt::format("CPL {}, returned flag {}", cpl, bit));
    }
  }
}

TEST_CASE("INT n and IRET in callouts see each bit of gates, segments and stacks change") {
  Machines machines;
  std::vector<uint32_t> words = Descriptors({guest::kCode0, guest::kData0, guest::kCode3, guest::kData3});
  for (uint32_t word : {guest::kIdt + 8u * kVector, guest::kIdt + 8u * kVector + 4, guest::kTss + 4, guest::kTss + 8}) {
    words.push_back(word);
  }
  for (unsigned cpl : {3u, 0u}) {
    ForEachBit(words, [&](const Change& change, const std::string& name) {
      machines.Compare(InterruptAndReturn(cpl, change), fmt::format("CPL {}, {}", cpl, name));
    });
  }
}

TEST_CASE("SYSENTER and SYSEXIT in callouts") {
  Machines machines;
  machines.Compare(SystemCall(), "system call");
  CHECK(machines.Done(Callout::kSystemEnter) >= kRounds - 2);
  CHECK(machines.Done(Callout::kSystemExit) >= kRounds - 2);
}

TEST_CASE("segment loads in callouts see each bit of their descriptors change") {
  Machines machines;
  machines.Compare(SegmentLoads({}), "unchanged");
  CHECK(machines.Done(Callout::kLoadSegment) >= kRounds);
  ForEachBit(Descriptors({guest::kFs, guest::kGs, guest::kReadOnly, uint16_t{0}}),
             [&](const Change& change, const std::string& name) { machines.Compare(SegmentLoads(change), name); });
}

TEST_CASE("CPUID in a callout gives each leaf") {
  Machines machines;
  for (uint32_t leaf : {0u, 1u, 2u, 4u, 7u, 13u, 0x8000'0000u, 0x8000'0001u, 0x8000'0004u, 0xFFFF'FFFFu}) {
    const Scenario scenario{3,
                            Loop([&](Assembler& a) {
                              a.mov(eax, leaf);
                              a.mov(ecx, ebp);
                              a.and_(ecx, 1);
                              a.cpuid();
                              a.xor_(esi, eax);
                              a.add(esi, ebx);
                              a.xor_(esi, ecx);
                              a.add(esi, edx);
                            }),
                            {}};
    machines.Compare(scenario, fmt::format("leaf {:x}", leaf));
  }
  CHECK(machines.Done(Callout::kCpuid) > 10);
}

TEST_CASE("ports, control registers, CLTS and INVLPG in callouts") {
  struct Counter : PortDevice {
    uint32_t ReadPort(uint16_t port, unsigned size) override { return value += port + size; }
    void WritePort(uint16_t port, unsigned size, uint32_t written) override { value ^= written + port + size; }
    uint32_t value = 0;
  } counters[2];
  Machines machines;
  machines.translated.Ports().Attach(0x60, 8, counters[0], "counter");
  machines.interpreted.Ports().Attach(0x60, 8, counters[1], "counter");
  for (unsigned cpl : {0u, 3u}) {  // at CPL 3 the first faults
    const Scenario scenario{cpl,
                            Loop([&](Assembler& a) {
                              a.mov(dx, 0x64);
                              a.in(al, dx);
                              a.add(esi, eax);
                              a.in(ax, 0x62);
                              a.add(esi, eax);
                              a.in(eax, dx);
                              a.add(esi, eax);
                              a.out(dx, al);
                              a.out(0x61, ax);
                              a.out(dx, eax);
                              a.mov(ebx, x86::cr0);
                              a.mov(ecx, ebx);
                              a.or_(ecx, ring3::cr0::kTs);
                              a.mov(x86::cr0, ecx);
                              a.mov(edi, x86::cr0);
                              a.clts();
                              a.clts();
                              a.fninit();
                              a.mov(cr2, ebx);
                              a.mov(eax, cr2);
                              a.mov(eax, cr3);
                              a.mov(cr3, eax);
                              a.mov(edi, x86::cr4);
                              a.invlpg(ptr(esp));
                              a.invlpg(ptr(guest::kData));
                              a.mov(eax, ptr(guest::kData));
                            }),
                            {}};
    machines.Compare(scenario, fmt::format("CPL {}", cpl));
    CHECK(counters[0].value == counters[1].value);
  }
  for (Callout callout :
       {Callout::kIn, Callout::kOut, Callout::kMoveToControl, Callout::kClearTaskSwitched, Callout::kInvalidatePage}) {
    CHECK(machines.Done(callout) >= kRounds - 2);
  }
}

TEST_CASE("kicks in the middle of callouts lose nothing") {
  constexpr uint32_t kManyRounds = 30'000;
  constexpr uint64_t kKickEveryNs = 30'000;
  Machines machines;
  Scenario scenarios[] = {InterruptAndReturn(3, {}), InterruptAndReturn(0, {}), SystemCall()};
  for (Scenario& scenario : scenarios) {
    scenario.rounds = kManyRounds;
    if (&scenario != &scenarios[2]) {
      scenario.code = Loop([](Assembler& a) {
        a.std();
        a.int_(kVector);
        a.adc(esi, ebp);
      });
    }
    const Result actual = RunScenario(machines.translated, scenario, kKickEveryNs);
    scenario.rounds = kManyRounds;
    TestMachine interpreted({.interpreter = true});
    const Result expected = RunScenario(interpreted, scenario);
    REQUIRE(actual.outcome);
    REQUIRE(expected.outcome);
    CHECK(Difference(*actual.outcome, *expected.outcome, {}) == "");
  }
}
