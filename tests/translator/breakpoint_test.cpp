// Hardware breakpoints in translated code: loops that are translated and linked before the guest arms one.
#include <catch2/catch.hpp>

#include "tests/translator/program.h"

using namespace ring3;
using namespace asmjit;
using x86::Assembler, x86::dword_ptr, x86::eax, x86::ebx, x86::ecx, x86::esp;

namespace {

constexpr uint32_t kTraps = guest::kData + 0x40, kWatched = guest::kData + 0x80, kDebugStatuses = guest::kData + 0xC0;
constexpr unsigned kRounds = 50;

/// #DB handler: counts, collects DR6, lets the instruction go on by setting RF in the saved EFLAGS.
Bytes Handler() {
  return Assemble(guest::kLowCode, [](Assembler& a) {
    a.push(eax);
    a.inc(dword_ptr(uint64_t{kTraps}));
    a.mov(eax, x86::dr6);
    a.or_(dword_ptr(uint64_t{kDebugStatuses}), eax);
    a.xor_(eax, eax);
    a.mov(x86::dr6, eax);
    a.or_(dword_ptr(esp, 12), eflags::kRf);
    a.pop(eax);
    a.iretd();
  });
}

/// The same loop three times: free, with `arm` in force, free again.
Bytes ThreeLoops(uint32_t address, uint32_t control, uint32_t& target) {
  return Assemble(address, [&](Assembler& a) {
    Label round = a.newLabel(), body = a.newLabel(), again = a.newLabel();
    a.mov(dword_ptr(uint64_t{kTraps}), 0);
    a.mov(dword_ptr(uint64_t{kDebugStatuses}), 0);
    a.call(round);
    a.mov(eax, control);
    a.mov(x86::dr7, eax);
    a.call(round);
    a.xor_(eax, eax);
    a.mov(x86::dr7, eax);
    a.call(round);
    a.hlt();
    // In a page of its own, as is what it writes: neither the code above nor the stack is touched by the watch.
    a.align(AlignMode::kCode, 64);
    a.bind(round);
    a.mov(ecx, kRounds);
    a.bind(again);
    a.call(body);
    a.dec(ecx);
    a.jnz(again);
    a.ret();
    a.bind(body);
    target = address + static_cast<uint32_t>(a.offset());
    a.inc(ebx);
    a.mov(dword_ptr(uint64_t{kWatched}), ebx);
    a.ret();
  });
}

/// Debug traps that the program saw, and the DR6 bits.
struct Seen {
  uint32_t traps = 0, status = 0;
};

Seen RunWith(TestMachine& machine, uint32_t control, uint32_t data_address) {
  uint32_t target = 0;
  Program program = MakeProgram({}, 1, 0);
  program.code = ThreeLoops(program.Start(), control, target);
  Load(machine, program);
  machine.Write(guest::kLowCode, Handler());
  machine.SetGate(1, guest::kLowCode, 0);
  machine.State().dr[0] = target;
  machine.State().dr[1] = data_address;
  machine.GetCpu().DebugRegistersChanged();
  machine.Run();
  return {machine.Get<uint32_t>(guest::kDataFrames + (kTraps - guest::kData)),
          machine.Get<uint32_t>(guest::kDataFrames + (kDebugStatuses - guest::kData)) & 0xF};
}

constexpr uint32_t kExecute0 = 2, kWrite1 = 8 | 1u << 20 | 3u << 22, kAccess1 = 8 | 3u << 20 | 3u << 22;

}  // namespace

TEST_CASE("an instruction breakpoint stops translated, linked code each time, and no longer once it is disarmed") {
  TestMachine machine;
  const Seen seen = RunWith(machine, kExecute0, 0);
  CHECK(seen.traps == kRounds);
  CHECK(seen.status == 1);
  machine.CheckInvariants();
}

TEST_CASE("a watchpoint sees each store of translated code and nothing beside it") {
  TestMachine machine;
  CHECK(RunWith(machine, kWrite1, kWatched).traps == kRounds);
  CHECK(RunWith(machine, kAccess1, kWatched).status == 2);
  CHECK(RunWith(machine, kWrite1, kWatched + 4).traps == 0);
}

TEST_CASE("both at once, as the interpreter has them") {
  TestMachine translated, interpreted({.interpreter = true});
  const Seen a = RunWith(translated, kExecute0 | kWrite1, kWatched),
             b = RunWith(interpreted, kExecute0 | kWrite1, kWatched);
  CHECK(a.traps == 2 * kRounds);
  CHECK(a.traps == b.traps);
  CHECK(a.status == 3);
  CHECK(a.status == b.status);
}
