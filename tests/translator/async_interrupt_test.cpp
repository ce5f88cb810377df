// Kicks at arbitrary host instructions: the state they leave and re-enter with must always be that of an instruction
// boundary (or of a string instruction between two iterations).
#include <catch2/catch.hpp>

#include "tests/translator/program.h"

using namespace ring3;
using namespace asmjit;
using namespace asmjit::x86;

namespace {

constexpr uint64_t kKickEveryNs = 50'000;
constexpr uint32_t kRounds = 20'000;

/// One round touches each kind of expansion: stack, strings, indirect branches, flags, x87, segments with a base.
Bytes Mixture(bool ring0) {
  return Assemble(guest::kCode, [ring0](Assembler& a) {
    Label top = a.newLabel(), function = a.newLabel(), start = a.newLabel(), done = a.newLabel();
    a.jmp(start);
    a.bind(function);
    a.push(ebp);
    a.mov(ebp, esp);
    a.sub(esp, 32);
    a.mov(ptr(ebp, -4), eax);
    a.add(eax, ptr(ebp, 8));
    a.leave();
    a.ret(4);
    a.bind(start);
    a.mov(ecx, kRounds);
    a.xor_(eax, eax);
    a.mov(dword_ptr(esp, -0x100), 0);
    a.bind(top);
    a.push(ecx);
    a.call(function);
    a.pushfd();
    a.pop(edx);
    a.and_(edx, 0x8D5);
    a.xor_(eax, edx);
    a.lea(edx, ptr(function));
    a.push(ecx);
    a.call(edx);
    a.push(ecx);
    a.lea(esi, ptr(ebx));
    a.lea(edi, ptr(ebx, 0x400));
    a.mov(ecx, 40);
    a.rep().movsd();
    a.pop(ecx);
    a.rol(eax, 3);
    a.adc(eax, ptr(ebx, 0x410));
    a.mov(ptr(ebx, 8), eax);
    a.push(dword_ptr(ebx, 4));
    a.pop(dword_ptr(ebx, 12));
    if (!ring0) {  // where an interrupt doesn't need ESP
      a.xchg(eax, esp);
      a.xchg(eax, esp);
    }
    a.fild(dword_ptr(ebx, 8));
    a.fistp(dword_ptr(ebx, 16));
    Mem tls = dword_ptr(uint64_t{0xFFFF'FFF0});
    tls.setSegment(fs);
    a.add(tls, eax);
    if (ring0) {
      a.pushfd();
      a.cli();
      a.mov(edx, cs);
      a.xor_(eax, edx);
      a.popfd();
      a.sti();
      a.inc(eax);
    }
    a.dec(ecx);
    a.jnz(top);
    a.bind(done);
    a.int3();
  });
}

Program MakeMixture(unsigned cpl) {
  Program program = MakeProgram(Mixture(cpl == 0), 11, cpl);
  program.offset = 0;
  program.eflags = eflags::kReserved1 | eflags::kIf;
  program.fxsave[2] = program.fxsave[3] = program.fxsave[4] = 0;
  program.gpr[kEbx] = guest::kData;
  return program;
}

/// Signals go to one machine at a time, so this one is gone before the next begins.
Outcome RunUndisturbed(const Program& program) {
  TestMachine machine;
  return RunOn(machine, program);
}

}  // namespace

TEST_CASE("kicks leave at precise points: the result is that of an undisturbed run") {
  for (unsigned cpl : {3u, 0u}) {
    const Program program = MakeMixture(cpl);
    const Outcome expected = RunUndisturbed(program);
    REQUIRE(expected.vector == 3u);
    TestMachine kicked;
    const KickTimer timer(kKickEveryNs);
    for (unsigned run = 0; run < 10; ++run) {
      const Outcome actual = RunOn(kicked, program);
      INFO(Difference(actual, expected, {}));
      REQUIRE(Difference(actual, expected, {}).empty());
    }
    CHECK(kicked.Signals().kicks_in_translated_code > 10);
    kicked.CheckInvariants();
  }
}

TEST_CASE("interrupts delivered at those points return to them") {
  for (unsigned cpl : {0u, 3u}) {
    const Program one = MakeMixture(cpl);
    const Outcome undisturbed = RunUndisturbed(one);
    TestMachine machine;
    const Bytes handler = Assemble(guest::kLowCode, [](Assembler& a) {
      a.push(eax);
      a.inc(dword_ptr(uint64_t{guest::kLowCode + 0x100}));
      a.pop(eax);
      a.iretd();
    });
    machine.Write(guest::kLowCode, handler);
    machine.on_attention = [](TestMachine& m) { m.waiting_interrupt = 0x31; };
    const KickTimer timer(kKickEveryNs);
    for (unsigned run = 0; run < 10; ++run) {
      Load(machine, one);
      machine.SetGate(0x31, guest::kLowCode, 0);
      machine.waiting_interrupt.reset();
      Outcome actual = machine.Run();
      actual.stack = undisturbed.stack;  // frames below ESP differ
      INFO("CPL " << cpl << "\n" << Difference(actual, undisturbed, {}));
      REQUIRE(Difference(actual, undisturbed, {}).empty());
    }
    CHECK(machine.Get<uint32_t>(guest::kLowCode + 0x100) > 50);
  }
}

TEST_CASE("an interrupt between two iterations of REP saves RF, one at another instruction doesn't") {
  static constexpr uint32_t kSavedFlags = guest::kLowCode + 0x200, kBytes = 1u << 20;
  for (const bool repeat : {true, false}) {
    TestMachine machine;
    machine.Write(guest::kLowCode, Assemble(guest::kLowCode, [](Assembler& a) {
                    a.mov(eax, dword_ptr(esp, 8));
                    a.mov(dword_ptr(uint64_t{kSavedFlags}), eax);
                    a.hlt();
                  }));
    const Program program = MakeProgram(Assemble(guest::kCode + Program().offset,
                                                 [repeat](Assembler& a) {
                                                   Label again = a.newLabel();
                                                   a.cld();
                                                   a.bind(again);
                                                   a.mov(edi, uint32_t{guest::kScratchFrames});
                                                   a.mov(ecx, kBytes);
                                                   if (repeat) a.rep().stosb();
                                                   a.jmp(again);
                                                 }),
                                        1, 0);
    // A slow host may kick before the loop is reached.
    machine.on_attention = repeat ? [](TestMachine& m) {
      if (m.Reg(kEdi) - guest::kScratchFrames - 1 < kBytes - 1) m.waiting_interrupt = 0x31;
    } : [](TestMachine& m) {
      if (m.Reg(kEdi) == guest::kScratchFrames) m.waiting_interrupt = 0x31;
    };
    const KickTimer timer(5'000'000);
    Load(machine, program);
    machine.SetGate(0x31, guest::kLowCode, 0);
    machine.Run();
    CHECK((machine.Get<uint32_t>(kSavedFlags) & eflags::kRf) == (repeat ? eflags::kRf : 0));
  }
}

TEST_CASE("an NMI ends a translated loop with IF clear; the next waits for IRET") {
  TestMachine machine;
  machine.Reset(0);
  machine.LoadCode(Bytes{0xEB, 0xFE}, 0);  // jmp to itself
  machine.State().eflags &= ~eflags::kIf;
  machine.Engine().RaiseNmi();
  const Outcome outcome = machine.Run();
  CHECK(outcome.vector == 2u);
  CHECK(outcome.eip == guest::kCode);
  CHECK(machine.State().nmi_blocked);
  CHECK_FALSE(machine.State().nmi_pending);
  machine.Engine().RaiseNmi();
  machine.Run();  // stays halted in the handler
  CHECK(machine.State().nmi_pending);
}
