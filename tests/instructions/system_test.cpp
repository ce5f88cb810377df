// What only privilege or segments make interesting; the reference is the interpreter.
#include <catch2/catch.hpp>

#include "tests/instructions/trials.h"

using namespace ring3;
using namespace asmjit::x86;

TEST_CASE("the interrupt flag: CLI, STI, PUSHF, POPF with all values") {
  Trials trials;
  trials.cpl3 = false;
  for (uint32_t before : {0u, eflags::kIf, eflags::kIf | eflags::kIopl, eflags::kNt | eflags::kAc}) {
    trials.adjust = [before](Program& p) { p.eflags = (p.eflags & ~(eflags::kIf | eflags::kIopl)) | before; };
    trials.Try(
        "cli",
        [](Assembler& a) {
          a.cli();
          a.pushfd();
          a.pop(eax);
        },
        Reference::kInterpreter);
    trials.Try(
        "sti",
        [](Assembler& a) {
          a.sti();
          a.pushfd();
          a.pop(eax);
        },
        Reference::kInterpreter);
    trials.Try(
        "sti; cli",
        [](Assembler& a) {
          a.sti();
          a.cli();
          a.pushfd();
        },
        Reference::kInterpreter);
    trials.Try(
        "pushf; cli; popf",
        [](Assembler& a) {
          a.pushfd();
          a.cli();
          a.add(eax, ecx);
          a.popfd();
          a.pushfd();
          a.pop(edx);
        },
        Reference::kInterpreter);
    for (uint32_t value :
         {0u, 0x202u, 0xED7u, 0x3202u, 0x4AD7u, 0x7000u, 0x40202u, 0x200202u, 0x1A0000u, 0x10202u, 0xFFFFFEFFu}) {
      trials.Try(
          "popf",
          [&](Assembler& a) {
            a.push(value);
            a.popfd();
            a.pushfd();
            a.pop(edx);
          },
          Reference::kInterpreter);
      trials.TryBytes("popf16",
                      {0x66, 0x68, static_cast<uint8_t>(value), static_cast<uint8_t>((value >> 8) & ~1u), 0x66, 0x9D,
                       0x66, 0x9C, 0x66, 0x58},
                      Reference::kInterpreter);
    }
  }
  trials.Report(300);
}

TEST_CASE("flags that CPL 3 may and may not change") {
  Trials trials;
  trials.cpl0 = false;
  for (uint32_t iopl : {0u, eflags::kIopl}) {
    trials.adjust = [iopl](Program& p) { p.eflags |= iopl; };
    const Reference reference = iopl ? Reference::kInterpreter : Reference::kBoth;
    for (uint32_t value : {0u, 0x202u, 0xED7u, 0x3202u, 0x4AD7u, 0x200202u}) {
      trials.Try(
          "popf",
          [&](Assembler& a) {
            a.push(value);
            a.popfd();
            a.pushfd();
            a.pop(edx);
          },
          reference);
    }
    trials.Try(
        "cli",
        [](Assembler& a) {
          a.cli();
          a.pushfd();
        },
        reference);
    trials.Try(
        "sti",
        [](Assembler& a) {
          a.sti();
          a.pushfd();
        },
        reference);
  }
  trials.Report(40);
}

TEST_CASE("single-step after POPF with TF") {
  Trials trials;
  trials.Try(
      "popf with TF",
      [](Assembler& a) {
        a.push(0x302);
        a.popfd();
        a.inc(eax);
        a.inc(edx);
      },
      Reference::kInterpreter);
  trials.Report(6);
}

TEST_CASE("segment registers: reads, loads, null and other limits") {
  Trials trials;
  const Reference interpreter = Reference::kInterpreter;
  for (const SReg& s : {es, cs, ss, ds, fs, gs}) {
    for (const Gp& r : {eax, esp, ebp, edx}) {
      trials.Try(
          "mov r, s", [&](Assembler& a) { a.mov(r, s); }, interpreter);
      trials.Try(
          "mov r16, s", [&](Assembler& a) { a.mov(r.r16(), s); }, interpreter);
    }
    trials.Try(
        "mov m, s", [&](Assembler& a) { a.mov(word_ptr(ebx), s); }, interpreter);
    trials.Try(
        "push s",
        [&](Assembler& a) {
          a.push(s);
          a.pop(eax);
        },
        interpreter);
    if (s == cs || s == ss) continue;
    for (uint16_t selector : {uint16_t{0}, guest::kData3, guest::kSmall, guest::kReadOnly, guest::kFs, guest::kData0,
                              guest::kMainTask, uint16_t{0xFFFF}}) {
      trials.Try(
          "load and use",
          [&](Assembler& a) {
            a.mov(eax, selector);
            a.mov(s, eax);
            Mem m = dword_ptr(uint64_t{guest::kSmallBytes - 4});
            m.setSegment(s);
            a.mov(edx, m);
            a.mov(m, edi);
            m.setOffset(guest::kSmallBytes - 3);
            a.mov(edx, m);
          },
          interpreter);
      trials.Try(
          "pop s",
          [&](Assembler& a) {
            a.push(selector);
            a.pop(s);
            a.mov(eax, s);
          },
          interpreter);
    }
  }
  trials.Report(500);
}

TEST_CASE("strings and stack operations with a segment that is not flat") {
  Trials trials;
  const Reference interpreter = Reference::kInterpreter;
  for (uint16_t selector : {guest::kSmall, guest::kFs, guest::kReadOnly}) {
    for (const SReg& s : {es, ds}) {
      trials.Try(
          "movsd",
          [&](Assembler& a) {
            a.mov(eax, selector);
            a.mov(s, eax);
            a.mov(esi, 0x10);
            a.mov(edi, 0x20);
            a.mov(ecx, 5);
            a.rep().movsd();
          },
          interpreter);
    }
    trials.Try(
        "push ds:[d]",
        [&](Assembler& a) {
          a.mov(eax, selector);
          a.mov(ds, eax);
          a.push(dword_ptr(uint64_t{0x40}));
          a.pop(dword_ptr(uint64_t{0x44}));
          a.call(dword_ptr(uint64_t{0x44}));
        },
        interpreter);
  }
  trials.cpl3 = false;
  trials.Try(
      "a stack segment that is not flat",
      [&](Assembler& a) {
        a.mov(eax, 0x10);
        a.mov(ss, eax);
        a.push(eax);
        a.pop(edx);
        a.pushfd();
        a.popfd();
        a.leave();
      },
      interpreter);
  trials.Report(40);
}

TEST_CASE("far transfers, software interrupts and table registers") {
  Trials trials;
  const Reference interpreter = Reference::kInterpreter;
  trials.Try(
      "int n", [](Assembler& a) { a.int_(0x06); }, interpreter);
  trials.Try(
      "int without a gate", [](Assembler& a) { a.int_(0x80); }, interpreter);
  trials.TryBytes("into", {0xCE}, interpreter);
  trials.TryBytes("int1", {0xF1}, interpreter);
  for (uint8_t reg : {0, 1, 4}) {
    trials.TryBytes("sgdt, sidt, smsw", {0x0F, 0x01, static_cast<uint8_t>(reg << 3 | 3)}, interpreter);
    trials.TryBytes("sldt, str, verr", {0x0F, 0x00, static_cast<uint8_t>(0xC0 | reg << 3)}, interpreter);
  }
  for (uint16_t selector : {guest::kData3, guest::kCode0, guest::kSmall, guest::kMainTask, uint16_t{0}}) {
    trials.Try(
        "lar, lsl",
        [&](Assembler& a) {
          a.mov(ecx, selector);
          a.lar(eax, ecx);
          a.lsl(edx, ecx);
          a.verw(cx);
        },
        interpreter);
    trials.TryBytes("jmp far",
                    {0xEA, 0x20, 0x08, 0x00, 0x10, static_cast<uint8_t>(selector), static_cast<uint8_t>(selector >> 8)},
                    interpreter);
  }
  trials.TryBytes("call far to the same segment",
                  {0x0E, 0x58, 0x66, 0x8C, 0xC8, 0x9A, 0x20, 0x08, 0x00, 0x10, 0x08, 0x00}, interpreter);
  trials.TryBytes("retf", {0x0E, 0x68, 0x20, 0x08, 0x00, 0x10, 0xCB}, interpreter);
  trials.TryBytes("iret to the same level", {0x9C, 0x0E, 0x68, 0x20, 0x08, 0x00, 0x10, 0xCF}, interpreter);
  trials.TryBytes("lds", {0xC5, 0x0B}, interpreter);
  trials.Report(100);
}

TEST_CASE("CR0.TS makes the FPU fault") {
  TestMachine translated, interpreted({.interpreter = true});
  for (const Bytes& code :
       {Bytes{0xD9, 0xE8}, Bytes{0x0F, 0x6F, 0x03}, Bytes{0x0F, 0x28, 0xC1}, Bytes{0x9B}, Bytes{0xDB, 0xE3}}) {
    for (uint32_t bit : {cr0::kTs, cr0::kEm}) {
      const Program program = MakeProgram(code, 1, 3);
      Outcome outcomes[2];
      unsigned i = 0;
      for (TestMachine* machine : {&translated, &interpreted}) {
        Load(*machine, program);
        machine->State().cr0 |= bit;
        outcomes[i++] = machine->Run();
      }
      INFO(Describe(program));
      CHECK(Difference(outcomes[0], outcomes[1], {}).empty());
    }
  }
}

TEST_CASE("RDTSC advances and touches nothing but EDX:EAX") {
  TestMachine machine;
  for (unsigned cpl : {0u, 3u}) {
    const Program program = MakeProgram({0x0F, 0x31, 0x89, 0xC6, 0x89, 0xD7, 0x0F, 0x31}, 3, cpl);
    const Outcome out = RunOn(machine, program);
    const uint64_t first = uint64_t{out.gpr[kEdi]} << 32 | out.gpr[kEsi],
                   second = uint64_t{out.gpr[kEdx]} << 32 | out.gpr[kEax];
    CHECK(out.vector == 3u);
    CHECK(second > first);
    CHECK(out.eflags == program.eflags);
    CHECK(out.gpr[kEcx] == program.gpr[kEcx]);
    CHECK(out.gpr[kEbx] == program.gpr[kEbx]);
  }
  Load(machine, MakeProgram({0x0F, 0x31}, 3, 3));
  machine.State().cr4 |= cr4::kTsd;
  CHECK(machine.Run().vector == 13u);
}

TEST_CASE("STI holds interrupts off for one instruction") {
  TestMachine translated, interpreted({.interpreter = true});
  // sti; inc eax; inc eax; ...: the handler at vector 0x30 halts, so EAX says when it came.
  for (const Bytes& code :
       {Bytes{0xFB, 0x40, 0x40, 0x40}, Bytes{0xFB, 0xFB, 0x40, 0x40}, Bytes{0x68, 0x02, 0x02, 0, 0, 0x9D, 0x40, 0x40},
        Bytes{0xFB, 0xEB, 0x00, 0x40, 0x40}, Bytes{0xFB, 0xF4}}) {
    Program program = MakeProgram(code, 1, 0);
    program.eflags &= ~eflags::kIf;
    Outcome outcomes[2];
    unsigned i = 0;
    for (TestMachine* machine : {&translated, &interpreted}) {
      Load(*machine, program);
      machine->SetGate(0x30, guest::kHandlers, 0);
      machine->waiting_interrupt = 0x30;
      outcomes[i++] = machine->Run();
      machine->waiting_interrupt.reset();
    }
    INFO(Describe(program) << Difference(outcomes[0], outcomes[1], {}));
    CHECK(Difference(outcomes[0], outcomes[1], {}).empty());
  }
}
