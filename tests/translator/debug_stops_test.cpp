// Stops of a debugger outside the guest: code addresses that are not translated, watched data, single steps.
#include <catch2/catch.hpp>

#include "tests/translator/program.h"

using namespace ring3;
using namespace asmjit;
using x86::Assembler, x86::dword_ptr, x86::eax, x86::ebx, x86::ecx, x86::edi, x86::esi;

namespace {

constexpr uint32_t kCounter = guest::kData + 0x80;
constexpr unsigned kRounds = 50;

/// A loop that calls a function, and the addresses of interest in it.
struct Loop {
  uint32_t body = 0, middle = 0, again = 0, end = 0;
  Bytes code;

  explicit Loop(uint32_t address, unsigned rounds = kRounds) {
    code = Assemble(address, [&](Assembler& a) {
      Label function = a.newLabel(), round = a.newLabel();
      const auto here = [&] { return address + static_cast<uint32_t>(a.offset()); };
      a.xor_(ebx, ebx);
      a.mov(ecx, rounds);
      a.bind(round);
      again = here();
      a.call(function);
      a.dec(ecx);
      a.jnz(round);
      end = here();
      a.hlt();
      a.bind(function);
      body = here();
      a.inc(ebx);
      middle = here();
      a.mov(dword_ptr(uint64_t{kCounter}), ebx);
      a.ret();
    });
  }
};

struct Debugged {
  TestMachine machine;
  Program program = MakeProgram({}, 1, 0);
  Loop loop;

  explicit Debugged(unsigned rounds = kRounds, TestMachineOptions options = {})
      : machine(options), loop(program.Start(), rounds) {
    program.code = loop.code;
    Load(machine, program);
  }
  void StopAt(std::vector<uint32_t> addresses) {
    DebugStops stops;
    for (uint32_t address : addresses) stops.code.emplace_back(address);
    machine.Engine().SetDebugStops(stops);
  }
  void Watch(uint32_t address, uint32_t bytes, bool reads, bool writes) {
    machine.Engine().SetDebugStops({.code = {}, .data = {{GuestLinear(address), bytes, reads, writes}}});
  }
  uint32_t Eip() { return machine.State().eip; }
};

}  // namespace

TEST_CASE("a code stop comes before each execution of its instruction, and changes nothing") {
  Debugged d;
  const bool at_start = GENERATE(true, false);
  const uint32_t stop = at_start ? d.loop.body : d.loop.middle;
  d.StopAt({stop});
  for (unsigned round = 1; round <= kRounds; ++round) {
    d.machine.Run();
    REQUIRE(d.Eip() == stop);
    REQUIRE(d.machine.Reg(kEbx) == (at_start ? round - 1 : round));
    CHECK_FALSE(d.machine.Engine().TakeDebugHit());
    REQUIRE(d.machine.Engine().StepForDebugger());
    REQUIRE(d.Eip() != stop);
  }
  d.machine.Run();
  CHECK(d.machine.State().halted);
  CHECK(d.machine.Reg(kEbx) == kRounds);
  d.machine.CheckInvariants();
}

TEST_CASE("a code stop that is set in code translated and linked long ago") {
  constexpr unsigned kLong = 4'000'000'000;
  Debugged d(kLong);
  d.machine.on_attention = [](TestMachine& machine) {
    if (machine.Reg(kEbx) < 1000) return;
    machine.on_attention = nullptr;
    machine.Engine().SetDebugStops({.code = {GuestLinear(machine.GetVcpu().cpu.state.dr[3])}, .data = {}});
  };
  d.machine.State().dr[3] = d.loop.middle;  // only a place to keep it: DR7 enables nothing
  d.machine.Run();
  CHECK(d.Eip() == d.loop.middle);
  CHECK(d.machine.Reg(kEbx) < kLong);
}

TEST_CASE("a stop at an address that is not reached leaves code translated, linked and fast") {
  constexpr unsigned kMany = 20'000'000;
  Debugged d(kMany);
  d.StopAt({d.loop.end, d.loop.end + 100});
  d.machine.Run();
  CHECK(d.Eip() == d.loop.end);
  CHECK(d.machine.Reg(kEbx) == kMany);
  CHECK(d.machine.Engine().Stats().interpreted < 1000);
}

TEST_CASE("code goes on translated when its stop was taken away") {
  Debugged d(1'000'000);
  d.StopAt({d.loop.body});
  for (int i = 0; i < 3; ++i) {
    d.machine.Run();
    d.machine.Engine().StepForDebugger();
  }
  d.StopAt({});
  const uint64_t before = d.machine.Engine().Stats().interpreted;
  d.machine.Run();
  CHECK(d.machine.State().halted);
  CHECK(d.machine.Engine().Stats().interpreted - before < 1000);
  d.machine.CheckInvariants();
}

TEST_CASE("several stops, some beside each other, are met in the order of execution") {
  Debugged d;
  d.StopAt({d.loop.middle, d.loop.again, d.loop.body});
  for (unsigned round = 0; round < 5; ++round) {
    for (uint32_t stop : {d.loop.again, d.loop.body, d.loop.middle}) {
      d.machine.Run();
      REQUIRE(d.Eip() == stop);
      d.machine.Engine().StepForDebugger();
    }
  }
}

TEST_CASE("a watched store stops behind its instruction, and tells which watch it was") {
  Debugged d;
  d.machine.Engine().SetDebugStops(
      {.code = {}, .data = {{GuestLinear(kCounter + 4), 4, true, true}, {GuestLinear(kCounter), 4, false, true}}});
  for (unsigned round = 1; round <= kRounds; ++round) {
    d.machine.Run();
    REQUIRE(d.machine.Engine().TakeDebugHit() == 1u);
    REQUIRE(d.machine.Get<uint32_t>(guest::kDataFrames + (kCounter - guest::kData)) == round);
    REQUIRE(d.Eip() > d.loop.middle);
  }
  d.machine.Run();
  CHECK(d.machine.State().halted);
}

TEST_CASE("a watch of reads does not stop stores, nor one beside the data") {
  Debugged d;
  SECTION("reads only") { d.Watch(kCounter, 4, true, false); }
  SECTION("beside it") { d.Watch(kCounter + 4, 4, true, true); }
  d.machine.Run();
  CHECK(d.machine.State().halted);
  CHECK(d.machine.Reg(kEbx) == kRounds);
}

TEST_CASE("a watch across pages is met at both ends of it") {
  Debugged d;
  d.program.code = Assemble(d.program.Start(), [&](Assembler& a) {
    a.mov(dword_ptr(uint64_t{guest::kData + kPageSize - 4}), 1);
    a.mov(dword_ptr(uint64_t{guest::kData + kPageSize + 4}), 1);
    a.mov(dword_ptr(uint64_t{guest::kData + kPageSize + 8}), 1);
    a.hlt();
  });
  Load(d.machine, d.program);
  d.Watch(guest::kData + kPageSize - 8, 16, false, true);
  for (int i = 0; i < 2; ++i) {
    d.machine.Run();
    CHECK(d.machine.Engine().TakeDebugHit() == 0u);
  }
  d.machine.Run();
  CHECK(d.machine.State().halted);
}

TEST_CASE("a repeated string instruction stops in the iteration that touched watched data") {
  Debugged d;
  d.program.code = Assemble(d.program.Start(), [&](Assembler& a) {
    a.mov(edi, guest::kData);
    a.mov(ecx, 1000);
    a.cld();
    a.rep().stosb();
    a.hlt();
  });
  Load(d.machine, d.program);
  d.Watch(guest::kData + 10, 1, false, true);
  d.machine.Run();
  CHECK(d.machine.Engine().TakeDebugHit() == 0u);
  CHECK(d.machine.Reg(kEdi) == guest::kData + 11);
  CHECK(d.machine.Reg(kEcx) == 989);
  d.machine.Run();
  CHECK(d.machine.State().halted);
}

TEST_CASE("a single step is one instruction, and a whole repeated one") {
  Debugged d;
  d.program.code = Assemble(d.program.Start(), [&](Assembler& a) {
    a.mov(edi, guest::kData);
    a.mov(ecx, 10000);
    a.rep().stosb();
    a.hlt();
  });
  Load(d.machine, d.program);
  d.machine.State().eflags &= ~eflags::kDf;
  for (int i = 0; i < 3; ++i) REQUIRE(d.machine.Engine().StepForDebugger());
  CHECK(d.machine.Reg(kEcx) == 0);
  REQUIRE(d.machine.Engine().StepForDebugger());
  CHECK(d.machine.State().halted);
  CHECK_FALSE(d.machine.Engine().StepForDebugger());
}

TEST_CASE("debugger's stops and the guest's own breakpoints do not disturb each other") {
  Debugged d;
  d.machine.State().dr[0] = kCounter;
  d.machine.State().dr[7] = 2 | 1u << 16 | 3u << 18;  // writes, four bytes
  d.machine.GetCpu().DebugRegistersChanged();
  d.machine.Write(guest::kLowCode, Assemble(guest::kLowCode, [](Assembler& a) {
                    a.inc(esi);
                    a.iretd();
                  }));
  d.machine.SetGate(1, guest::kLowCode, 0);
  d.machine.Reg(kEsi) = 0;
  d.Watch(kCounter, 4, false, true);
  for (unsigned round = 1; round <= kRounds; ++round) {
    d.machine.Run();
    REQUIRE(d.machine.Engine().TakeDebugHit() == 0u);
  }
  d.machine.Engine().SetDebugStops({});
  d.machine.Run();
  CHECK(d.machine.State().halted);
  CHECK(d.machine.Reg(kEsi) == kRounds);
}
