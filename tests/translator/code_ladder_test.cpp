// What changing code costs: host faults and translations, counted. The ladder that a page climbs which is written
// often, and the way down again.
#include <catch2/catch.hpp>

#include "tests/translator/every_machine.h"

using namespace ring3;
using namespace asmjit;
using namespace asmjit::x86;

namespace {

// A page is left writable after so many stores into it; the rest of the faults map the pages that a test touches.
constexpr uint64_t kClimb = 24, kFewFaults = kClimb + 16;
constexpr uint32_t kFunction = 0x5000'0000, kFunctionFrame = 0x20'0000;
constexpr uint16_t kRelaxPort = 0x510;

/// OUT to its port is what the passing of a quarter of a second is to the real machine.
class RelaxDevice : public PortDevice {
 public:
  explicit RelaxDevice(TestMachine& machine) : machine_(machine) {
    machine.Ports().Attach(kRelaxPort, 1, *this, "relax");
  }
  uint32_t ReadPort(uint16_t, unsigned) override { return 0; }
  void WritePort(uint16_t, unsigned, uint32_t) override { machine_.GetTranslator().Relax(); }

 private:
  TestMachine& machine_;
};

/// What a run added to the counters.
struct Costs {
  uint64_t faults, interpreted, blocks, stale;
};

Costs Count(TestMachine& m) {
  const TranslatorStats stats = m.GetTranslator().Stats();
  return {m.Signals().faults, m.Engine().Stats().interpreted, stats.blocks, stats.invalidation.stale_blocks};
}

Costs RunCounted(TestMachine& machine) {
  const Costs before = Count(machine);
  machine.Run();
  const Costs after = Count(machine);
  return {after.faults - before.faults, after.interpreted - before.interpreted, after.blocks - before.blocks,
          after.stale - before.stale};
}

/// Hot data beside code: `rounds` stores, with a call of a function on that page each time. In ring 0 with OUT each
/// `period` rounds.
Bytes HotData(uint32_t rounds, uint32_t period) {
  return Assemble(guest::kCode, [=](Assembler& a) {
    Label top = a.newLabel(), data = a.newLabel(), function = a.newLabel(), start = a.newLabel(), on = a.newLabel();
    a.jmp(start);
    a.bind(data);
    a.dd(0);
    a.bind(function);
    a.inc(ebx);
    a.ret();
    a.bind(start);
    a.xor_(ebx, ebx);
    a.mov(ecx, rounds);
    a.mov(edx, kRelaxPort);
    a.mov(ebp, period);
    a.lea(esi, ptr(data));
    a.bind(top);
    a.add(dword_ptr(esi), ecx);
    a.call(function);
    a.dec(ebp);
    a.jnz(on);
    a.mov(ebp, period);
    a.out(dx, al);
    a.bind(on);
    a.dec(ecx);
    a.jnz(top);
    a.mov(eax, ptr(esi));
    a.hlt();
  });
}

}  // namespace

TEST_CASE("hot data beside code costs no storm of faults") {
  constexpr uint32_t kRounds = 100'000;
  for (unsigned instructions : {64u, 1u}) {
    TestMachine machine({.translator = {.cache_bytes = 1u << 20, .max_block_instructions = instructions}});
    RelaxDevice device(machine);
    LoadChangingCode(machine, 0, HotData(kRounds, kRounds));
    const Costs costs = RunCounted(machine);
    CHECK(machine.Reg(kEbx) == kRounds);
    CHECK(machine.Reg(kEax) == kRounds / 2 * (kRounds + 1));
    CHECK(costs.faults <= kFewFaults);
    CHECK(costs.interpreted <= kFewFaults);
    CHECK(costs.stale == 0);
    machine.CheckInvariants();
  }
}

TEST_CASE("a page with hot data climbs down when it is quiet, and no further than a few faults at a time") {
  constexpr uint32_t kRounds = 100'000, kPeriod = 1000, kPeriods = kRounds / kPeriod;
  TestMachine machine;
  RelaxDevice device(machine);
  LoadChangingCode(machine, 0, HotData(kRounds, kPeriod));
  const Costs costs = RunCounted(machine);
  CHECK(machine.Reg(kEax) == kRounds / 2 * (kRounds + 1));
  // Each period begins as watched code: that costs the climb again, and the page's few blocks. OUT is interpreted too.
  CHECK(costs.faults <= kFewFaults + kPeriods * (kClimb + 2));
  CHECK(costs.faults >= kPeriods / 2 * kClimb);  // it did climb down
  CHECK(costs.interpreted <= costs.faults + 2 * kPeriods);
  CHECK(costs.blocks <= 20 * kPeriods);
}

TEST_CASE("a function rewritten again and again costs one translation each time, and next to no faults") {
  static constexpr uint32_t kRounds = 60'000, kPeriod = 500;
  for (unsigned instructions : {64u, 1u}) {
    TestMachine machine({.translator = {.cache_bytes = 1u << 20, .max_block_instructions = instructions}});
    RelaxDevice device(machine);
    const Bytes code = Assemble(guest::kCode, [](Assembler& a) {
      Label top = a.newLabel(), on = a.newLabel();
      a.xor_(ebx, ebx);
      a.mov(ecx, kRounds);
      a.mov(edx, kRelaxPort);
      a.mov(ebp, kPeriod);
      a.bind(top);
      a.mov(ptr(uint64_t{kFunction + 1}), ecx);
      a.call(uint64_t{kFunction});
      a.add(ebx, eax);
      a.dec(ebp);
      a.jnz(on);
      a.mov(ebp, kPeriod);
      a.out(dx, al);
      a.bind(on);
      a.dec(ecx);
      a.jnz(top);
      a.hlt();
    });
    machine.Reset(0);
    machine.LoadCode(code, 0);
    machine.Write(kFunctionFrame, Bytes{0xB8, 0, 0, 0, 0, 0xC3});
    machine.Map(kFunction, kFunctionFrame, kOpenPage);
    const Costs costs = RunCounted(machine);
    CHECK(machine.Reg(kEbx) == kRounds / 2 * (kRounds + 1));
    CHECK(costs.faults <= kFewFaults);  // a page that goes stale all the time does not climb down
    CHECK(costs.stale <= kRounds);
    CHECK(costs.blocks <= kRounds + 200);
    machine.CheckInvariants();
  }
}

namespace {

/// A function at the end of a page whose one instruction, ADD EBX, imm32, goes on in the next page.
void PutCrossingFunction(TestMachine& machine) {
  constexpr uint32_t kInFirst = 3;
  const Bytes code = {0x81, 0xC3, 1, 0, 0, 0, 0xC3};  // add ebx, 1; ret
  machine.Write(kFunctionFrame + kPageSize - kInFirst, code);
  machine.Map(kFunction, kFunctionFrame, kOpenPage);
}

constexpr uint32_t kCrossing = kFunction + kPageSize - 3, kCalls = 5000;

void LoadCallLoop(TestMachine& machine, unsigned cpl) {
  machine.Reset(cpl);
  machine.LoadCode(Assemble(guest::kCode,
                            [](Assembler& a) {
                              Label top = a.newLabel();
                              a.xor_(ebx, ebx);
                              a.mov(ecx, kCalls);
                              a.bind(top);
                              a.call(uint64_t{kCrossing});
                              a.dec(ecx);
                              a.jnz(top);
                              a.int3();
                            }),
                   0);
}

}  // namespace

TEST_CASE("an instruction into a page that was absent at first is translated once the page is there") {
  for (unsigned cpl : {3u, 0u}) {
    TestMachine machine;
    const uint32_t second = kFunction + kPageSize, entry = machine.EntryAddress(second);
    LoadCallLoop(machine, cpl);
    PutCrossingFunction(machine);
    machine.Unmap(second);
    machine.Write(guest::kLowCode, Assemble(guest::kLowCode, [=](Assembler& a) {
                    a.mov(dword_ptr(uint64_t{entry}), (kFunctionFrame + kPageSize) | kOpenPage);
                    a.invlpg(ptr(uint64_t{second}));
                    a.inc(esi);
                    a.add(esp, 4);
                    a.iretd();
                  }));
    machine.SetGate(14, guest::kLowCode, 0);
    machine.Reg(kEsi) = 0;
    const Costs costs = RunCounted(machine);
    CHECK(machine.Get<uint32_t>(guest::kTss + 40 + 4 * kEbx) == kCalls);
    CHECK(machine.Get<uint32_t>(guest::kTss + 40 + 4 * kEsi) == 1);
    CHECK(costs.interpreted <= 16);
    CHECK(costs.blocks <= 24);
    machine.CheckInvariants();
  }
}

TEST_CASE("an instruction into a page that checked itself is translated once that page is quiet") {
  for (unsigned cpl : {3u, 0u}) {
    TestMachine machine;
    const uint32_t second = kFunctionFrame + kPageSize;
    LoadCallLoop(machine, cpl);
    PutCrossingFunction(machine);
    machine.Map(kFunction + kPageSize, second, kOpenPage);
    RunCounted(machine);
    for (uint32_t i = 0; i < 2 * kClimb; ++i) machine.Set<uint32_t>(second + 0x800, i);  // as a device would
    LoadCallLoop(machine, cpl);
    CHECK(RunCounted(machine).interpreted >= kCalls);  // neither protected nor able to check two pages
    for (int i = 0; i < 2; ++i) machine.GetTranslator().Relax();
    LoadCallLoop(machine, cpl);
    CHECK(RunCounted(machine).interpreted <= 16);
    machine.CheckInvariants();
  }
}

TEST_CASE("a kernel stack on a page that holds code") {
  // Interrupt frames are written by the monitor, again and again beside a handler that stays as it is.
  static constexpr uint32_t kRounds = 5000;
  for (unsigned cpl : {3u, 0u}) {
    TestMachine machine;
    machine.Reset(cpl);
    machine.LoadCode(Assemble(guest::kCode,
                              [](Assembler& a) {
                                Label top = a.newLabel();
                                a.xor_(ebx, ebx);
                                a.mov(ecx, kRounds);
                                a.bind(top);
                                a.int_(0x40);
                                a.dec(ecx);
                                a.jnz(top);
                                a.int3();
                              }),
                     0);
    machine.Write(guest::kLowCode, Assemble(guest::kLowCode, [](Assembler& a) {
                    a.push(eax);
                    a.inc(ebx);
                    a.pop(eax);
                    a.iretd();
                  }));
    machine.SetGate(0x40, guest::kLowCode, 3);
    machine.Set<uint32_t>(guest::kTss + 4, guest::kLowCode + 0x800);  // ESP0
    if (cpl == 0) machine.Reg(kEsp) = guest::kLowCode + 0x800;
    const Costs costs = RunCounted(machine);
    CHECK(machine.Get<uint32_t>(guest::kTss + 40 + 4 * kEbx) == kRounds);
    CHECK(costs.faults <= kFewFaults);
    CHECK(costs.blocks <= 64);
  }
}
