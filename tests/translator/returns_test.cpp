// Returns that do not match the calls before them: to elsewhere, from another stack, past frames, into code or mappings
// that changed meanwhile.
#include <catch2/catch.hpp>

#include "tests/translator/every_machine.h"

using namespace ring3;
using namespace asmjit;
using namespace asmjit::x86;

namespace {

constexpr uint32_t kRounds = 1000;

}  // namespace

TEST_CASE("calls that never return, more than the host's stack has room for") {
  RunChangingCode(
      [](Assembler& a) {
        Label top = a.newLabel(), function = a.newLabel();
        a.mov(ecx, 200'000);
        a.bind(top);
        a.call(function);
        a.int3();
        a.bind(function);
        a.add(esp, 4);
        a.dec(ecx);
        a.jnz(top);
        a.int3();
      },
      [](const Outcome& o) { CHECK(o.gpr[kEcx] == 0); });
}

TEST_CASE("returns without calls") {
  RunChangingCode(
      [](Assembler& a) {
        CountDown(a, kRounds, [](Assembler& b) {
          Label target = b.newLabel();
          b.lea(eax, ptr(target));
          b.push(eax);
          b.ret();
          b.int3();
          b.bind(target);
        });
        a.int3();
      },
      [](const Outcome& o) { CHECK(o.gpr[kEcx] == 0); });
}

TEST_CASE("a function that changes where it returns to") {
  RunChangingCode(
      [](Assembler& a) {
        Label function = a.newLabel(), start = a.newLabel();
        a.jmp(start);
        a.bind(function);
        a.inc(dword_ptr(esp));
        a.ret();
        a.bind(start);
        a.xor_(eax, eax);
        CountDown(a, kRounds, [&](Assembler& b) {
          b.call(function);
          b.inc(eax);  // one byte, which the return leaves out
          b.inc(eax);
        });
        a.int3();
      },
      [](const Outcome& o) { CHECK(o.gpr[kEax] == kRounds); });
}

TEST_CASE("frames left at once, then the returns of the frames around them") {
  RunChangingCode(
      [](Assembler& a) {
        Label outer = a.newLabel(), inner = a.newLabel(), innermost = a.newLabel(), landing = a.newLabel(),
              start = a.newLabel();
        a.jmp(start);
        a.bind(outer);
        a.mov(ebp, esp);
        a.call(inner);
        a.int3();
        a.bind(landing);
        a.add(eax, 1);
        a.ret();
        a.bind(inner);
        a.call(innermost);
        a.int3();
        a.bind(innermost);
        a.mov(esp, ebp);
        a.jmp(landing);
        a.bind(start);
        a.xor_(eax, eax);
        CountDown(a, kRounds, [&](Assembler& b) { b.call(outer); });
        a.int3();
      },
      [](const Outcome& o) { CHECK(o.gpr[kEax] == kRounds); });
}

TEST_CASE("two coroutines, each within a call of its own") {
  RunChangingCode(
      [](Assembler& a) {
        Label other = a.newLabel(), yield = a.newLabel(), deeper = a.newLabel(), start = a.newLabel();
        a.jmp(start);
        a.bind(yield);
        a.xchg(esp, esi);
        a.ret();
        a.bind(deeper);
        a.add(ebx, 3);
        a.call(yield);
        a.ret();
        a.bind(other);
        a.call(deeper);
        a.add(edx, 5);
        a.jmp(other);
        a.bind(start);
        a.xor_(ebx, ebx);
        a.xor_(edx, edx);
        a.lea(esi, ptr(esp, -0x200));
        a.lea(eax, ptr(other));
        a.mov(ptr(esi), eax);
        CountDown(a, kRounds, [&](Assembler& b) { b.call(yield); });
        a.int3();
      },
      [](const Outcome& o) {
        CHECK(o.gpr[kEbx] == 3 * kRounds);
        CHECK(o.gpr[kEdx] == 5 * (kRounds - 1));
      });
}

TEST_CASE("a function that rewrites the code it returns to") {
  RunChangingCode(
      [](Assembler& a) {
        Label function = a.newLabel(), start = a.newLabel(), behind = a.newLabel();
        a.jmp(start);
        a.bind(function);
        a.mov(ptr(edi), ecx);
        a.ret();
        a.bind(start);
        a.xor_(edx, edx);
        a.lea(edi, ptr(behind, 1));
        CountDown(a, kRounds, [&](Assembler& b) {
          b.call(function);
          b.bind(behind);
          b.mov(eax, 0);
          b.add(edx, eax);
        });
        a.int3();
      },
      [](const Outcome& o) { CHECK(o.gpr[kEdx] == kRounds * (kRounds + 1) / 2); });
}

TEST_CASE("a call to the next instruction, which learns its address") {
  RunChangingCode(
      [](Assembler& a) {
        a.xor_(eax, eax);
        CountDown(a, kRounds, [](Assembler& b) {
          Label next = b.newLabel();
          b.call(next);
          b.bind(next);
          b.pop(edx);
          b.lea(ebx, ptr(next));
          b.sub(edx, ebx);
          b.or_(eax, edx);
        });
        a.int3();
      },
      [](const Outcome& o) { CHECK(o.gpr[kEax] == 0); });
}

TEST_CASE("flags come through calls and returns") {
  RunChangingCode(
      [](Assembler& a) {
        Label function = a.newLabel(), start = a.newLabel();
        a.jmp(start);
        a.bind(function);
        a.cmp(ecx, 500);
        a.ret();
        a.bind(start);
        a.xor_(edx, edx);
        CountDown(a, kRounds, [&](Assembler& b) {
          b.call(function);
          b.adc(edx, 0);
        });
        a.int3();
      },
      [](const Outcome& o) { CHECK(o.gpr[kEdx] == 499); });
}

TEST_CASE("the code a function returns to is another page by then") {
  // The caller lies in a page of its own, which the function, in the next one, maps to another frame and back.
  constexpr uint32_t kCaller = 0x3100'0000, kCallee = kCaller + kPageSize, kFrame = guest::kScratchFrames;
  RunEverywhere({"remap",
                 [=](TestMachine& machine) {
                   machine.Reset(0);
                   constexpr uint32_t kFlags = guest::kPresent | guest::kWritable;
                   machine.Map(kCaller, kFrame, kFlags);
                   machine.Map(kCallee, kFrame + kPageSize, kFlags);
                   const uint32_t entry = machine.EntryAddress(kCaller);
                   for (const uint32_t step : {1u, 100u}) {
                     const uint32_t frame = kFrame + (step == 1 ? 0 : 2 * kPageSize);
                     machine.Write(frame, Assemble(kCaller, [&](Assembler& a) {
                                     Label top = a.newLabel();
                                     a.bind(top);
                                     a.call(imm(kCallee));
                                     a.add(eax, step);
                                     a.dec(ecx);
                                     a.jnz(top);
                                     a.hlt();
                                   }));
                   }
                   machine.Write(kFrame + kPageSize, Assemble(kCallee, [&](Assembler& a) {
                                   a.xor_(dword_ptr(uint64_t{entry}), 2 * kPageSize);
                                   a.invlpg(ptr(uint64_t{kCaller}));
                                   a.ret();
                                 }));
                   machine.State().eip = kCaller;
                   machine.Reg(kEax) = 0;
                   machine.Reg(kEcx) = 100;
                 },
                 [](TestMachine&, const Outcome& o) { CHECK(o.gpr[kEax] == 50 * 101); }});
}
