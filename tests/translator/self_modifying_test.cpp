// Code that changes: by itself, ahead of itself, through another address, by string instructions, over and over.
#include <catch2/catch.hpp>

#include "tests/translator/every_machine.h"

using namespace ring3;
using namespace asmjit;
using namespace asmjit::x86;

TEST_CASE("an instruction that changes the next one, in its own block") {
  RunChangingCode(
      [](Assembler& a) {
        Label next = a.newLabel();
        a.xor_(eax, eax);
        a.lea(edi, ptr(next));
        a.mov(byte_ptr(edi), 0x48);  // dec eax
        a.bind(next);
        a.inc(eax);
        a.int3();
      },
      [](const Outcome& o) { CHECK(o.gpr[kEax] == 0xFFFF'FFFF); });
}

TEST_CASE("a store through another virtual address changes the code too") {
  RunChangingCode(
      [](Assembler& a) {
        Label next = a.newLabel(), again = a.newLabel();
        a.xor_(eax, eax);
        a.mov(ecx, 2);
        a.lea(edi, ptr(next));
        a.add(edi, kCodeAlias - guest::kCode);
        a.bind(again);
        a.bind(next);
        a.inc(eax);
        a.mov(byte_ptr(edi), 0x90);
        a.loop(again);
        a.int3();
      },
      [](const Outcome& o) { CHECK(o.gpr[kEax] == 1); });
}

TEST_CASE("rep movs over the code that follows it, and over itself") {
  RunChangingCode(
      [](Assembler& a) {
        Label source = a.newLabel(), target = a.newLabel(), start = a.newLabel();
        a.jmp(start);
        a.bind(source);
        for (unsigned i = 0; i < 16; ++i) a.inc(eax);
        a.bind(start);
        a.xor_(eax, eax);
        a.lea(esi, ptr(source));
        a.lea(edi, ptr(target));
        a.mov(ecx, 16);
        a.rep().movsb();
        a.bind(target);
        for (unsigned i = 0; i < 16; ++i) a.dec(eax);
        a.int3();
      },
      [](const Outcome& o) { CHECK(o.gpr[kEax] == 16); });
}

TEST_CASE("a function rewritten 1,000 times gives each time the new result") {
  RunChangingCode(
      [](Assembler& a) {
        Label function = a.newLabel(), top = a.newLabel(), start = a.newLabel();
        a.jmp(start);
        a.bind(function);
        a.mov(eax, 0);
        a.ret();
        a.bind(start);
        a.xor_(edx, edx);
        a.mov(ecx, 1000);
        a.lea(edi, ptr(function, 1));
        a.bind(top);
        a.mov(ptr(edi), ecx);
        a.call(function);
        a.add(edx, eax);
        a.dec(ecx);
        a.jnz(top);
        a.int3();
      },
      [](const Outcome& o) { CHECK(o.gpr[kEdx] == 1000u * 1001 / 2); });
}

TEST_CASE("code and hot data on one page, then new code there") {
  RunChangingCode(
      [](Assembler& a) {
        Label data = a.newLabel(), top = a.newLabel(), function = a.newLabel(), start = a.newLabel();
        a.jmp(start);
        a.bind(data);
        a.dd(0);
        a.bind(function);
        a.add(ebx, 3);
        a.ret();
        a.bind(start);
        a.xor_(ebx, ebx);
        a.lea(esi, ptr(data));
        a.mov(ecx, 1500);
        a.bind(top);
        a.add(dword_ptr(esi), ecx);
        a.call(function);
        a.dec(ecx);
        a.jnz(top);
        a.mov(eax, ptr(esi));
        a.int3();
      },
      [](const Outcome& o) {
        CHECK(o.gpr[kEax] == 1500u * 1501 / 2);
        CHECK(o.gpr[kEbx] == 4500);
      });
  RunChangingCode(
      [](Assembler& a) {
        Label data = a.newLabel(), top = a.newLabel(), patched = a.newLabel(), start = a.newLabel();
        a.jmp(start);
        a.bind(data);
        a.dd(0);
        a.bind(start);
        a.xor_(ebx, ebx);
        a.lea(esi, ptr(data));
        a.lea(edi, ptr(patched, 2));
        a.mov(ecx, 800);
        a.bind(top);
        a.add(dword_ptr(esi), ecx);
        a.mov(eax, ecx);
        a.and_(al, 0x3F);
        a.mov(byte_ptr(edi), al);
        a.bind(patched);
        a.add(ebx, 1);
        a.dec(ecx);
        a.jnz(top);
        a.mov(eax, ptr(esi));
        a.int3();
      },
      [](const Outcome& o) {
        uint32_t expected = 0;
        for (uint32_t i = 1; i <= 800; ++i) expected += i & 0x3F;
        CHECK(o.gpr[kEbx] == expected);
        CHECK(o.gpr[kEax] == 800u * 801 / 2);
      });
}

TEST_CASE("an instruction across two pages changes when either half does") {
  RunChangingCode(
      [](Assembler& a) {
        Label crossing = a.newLabel(), start = a.newLabel(), top = a.newLabel();
        a.jmp(start);
        a.bind(top);
        while (a.offset() < kPageSize - 2) a.nop();
        a.bind(crossing);
        a.mov(eax, 0x01010101);  // two bytes in the first page
        a.add(ebx, eax);
        a.dec(ecx);
        a.ret();
        a.bind(start);
        a.xor_(ebx, ebx);
        a.mov(ecx, 200);
        Label loop = a.newLabel();
        a.bind(loop);
        a.lea(edi, ptr(crossing));
        a.mov(edx, ecx);
        a.mov(byte_ptr(edi, 1), dl);
        a.mov(byte_ptr(edi, 3), dl);
        a.inc(ecx);
        a.call(crossing);
        a.dec(ecx);
        a.jnz(loop);
        a.int3();
      },
      [](const Outcome& o) {
        uint32_t expected = 0;
        for (uint32_t i = 200; i >= 1; --i) expected += 0x01000100 | i | i << 16;
        CHECK(o.gpr[kEbx] == expected);
      });
}

TEST_CASE("a block changes instructions before and after the storing one, and the storing one itself") {
  // Each round stores its number into an instruction ahead, one behind, and the immediate of the store itself.
  RunChangingCode(
      [](Assembler& a) {
        Label top = a.newLabel(), behind = a.newLabel(), itself = a.newLabel(), ahead = a.newLabel();
        a.xor_(ebx, ebx);
        a.mov(ecx, 60);
        a.lea(esi, ptr(behind, 2));
        a.lea(edi, ptr(ahead, 2));
        a.lea(ebp, ptr(itself, 3));
        a.bind(top);
        a.bind(behind);
        a.add(ebx, 1000);  // 81 C3 imm32
        a.mov(ptr(edi), ecx);
        a.mov(ptr(esi), ecx);
        a.bind(itself);
        a.add(dword_ptr(ebp), 0x01234567);  // 81 45 disp8 imm32: adds the immediate to itself
        a.nop();
        a.bind(ahead);
        a.add(ebx, 2000);
        a.dec(ecx);
        a.jnz(top);
        a.mov(edx, ptr(ebp));
        a.int3();
      },
      [](const Outcome& o) {
        uint32_t expected = 1000;
        for (uint32_t i = 1; i <= 60; ++i) expected += i;  // ahead of the store: at once
        for (uint32_t i = 2; i <= 60; ++i) expected += i;  // behind it: in the next round
        CHECK(o.gpr[kEbx] == expected);
      });
}

TEST_CASE("a jump is retargeted and its way back cut while the loop runs") {
  RunChangingCode(
      [](Assembler& a) {
        Label top = a.newLabel(), jump = a.newLabel(), one = a.newLabel(), two = a.newLabel(), join = a.newLabel();
        a.xor_(ebx, ebx);
        a.mov(ecx, 200);
        a.lea(edi, ptr(jump, 1));
        a.bind(top);
        a.bind(jump);
        a.db(0xEB);
        a.db(0);  // jmp one or two
        a.bind(one);
        a.inc(ebx);
        a.jmp(join);
        a.align(AlignMode::kCode, 16);
        a.bind(two);
        a.add(ebx, 100);
        a.bind(join);
        a.mov(al, cl);
        a.and_(al, 1);
        a.neg(al);
        a.lea(edx, ptr(two));
        a.lea(esi, ptr(one));
        a.sub(edx, esi);
        a.and_(al, dl);
        a.mov(ptr(edi), al);
        a.dec(ecx);
        a.jnz(top);
        a.int3();
      },
      // Round 200 goes to `one`; each even count chooses `one` for the next, each odd one `two`.
      [](const Outcome& o) { CHECK(o.gpr[kEbx] == 1 + 100 * 1 + 99 * 100u); });
}

TEST_CASE("a store across two pages changes code in both") {
  RunChangingCode(
      [](Assembler& a) {
        Label first = a.newLabel(), second = a.newLabel(), start = a.newLabel(), top = a.newLabel();
        a.jmp(start);
        while (a.offset() < kPageSize - 3) a.nop();
        a.bind(first);
        a.mov(al, 1);  // its immediate is the last byte but one of the page
        a.ret();
        a.bind(second);
        a.mov(ah, 1);
        a.ret();
        a.bind(start);
        a.xor_(ebx, ebx);
        a.mov(ecx, 100);
        a.lea(edi, ptr(first, 1));
        a.bind(top);
        a.xor_(eax, eax);
        a.call(first);
        a.call(second);
        a.add(ebx, eax);
        a.mov(edx, 0xB4C3);  // ret; mov ah, ...: as it was
        a.shl(edx, 8);
        a.mov(dl, cl);
        a.shl(ecx, 24);
        a.or_(edx, ecx);
        a.shr(ecx, 24);
        a.mov(ptr(edi), edx);
        a.dec(ecx);
        a.jnz(top);
        a.int3();
      },
      [](const Outcome& o) {
        uint32_t expected = 0x101;
        for (uint32_t i = 2; i <= 100; ++i) expected += i * 0x101;
        CHECK(o.gpr[kEbx] == expected);
      });
}

TEST_CASE("strings that run over their own instruction finish as they began") {
  // The processor notices such a store when the instruction is over.
  for (bool movs : {false, true}) {
    RunChangingCode(
        [movs](Assembler& a) {
          Label itself = a.newLabel(), nops = a.newLabel();
          a.xor_(ebx, ebx);
          a.mov(al, 0x90);
          a.mov(ecx, 16);
          a.lea(esi, ptr(nops));
          a.lea(edi, ptr(itself, -4));
          a.nop();
          a.nop();
          a.nop();
          a.nop();
          a.bind(itself);
          if (movs) {
            a.rep().movsb();
          } else {
            a.rep().stosb();
          }
          for (unsigned i = 0; i < 10; ++i) a.inc(ebx);
          a.mov(edx, ecx);
          a.int3();
          a.bind(nops);
          for (unsigned i = 0; i < 16; ++i) a.nop();
        },
        [](const Outcome& o) {
          CHECK(o.gpr[kEbx] == 0);
          CHECK(o.gpr[kEdx] == 0);
        });
  }
}

TEST_CASE("one page of code at two addresses: position matters, and a store through either reaches both") {
  RunChangingCode(
      [](Assembler& a) {
        Label top = a.newLabel(), function = a.newLabel(), start = a.newLabel(), here = a.newLabel();
        a.jmp(start);
        a.bind(function);
        a.call(here);
        a.bind(here);
        a.pop(eax);  // where it runs
        a.add(eax, 0);
        a.ret();
        a.bind(start);
        a.xor_(ebx, ebx);
        a.mov(ecx, 100);
        a.lea(esi, ptr(function));
        a.lea(edi, ptr(esi, kCodeAlias - guest::kCode));
        a.bind(top);
        a.call(esi);
        a.add(ebx, eax);
        a.call(edi);
        a.xor_(ebx, eax);
        a.mov(ptr(edi, 8), cl);  // the immediate of ADD
        a.dec(ecx);
        a.xchg(esi, edi);
        a.jnz(top);
        a.int3();
      },
      [](const Outcome& o) {
        uint32_t expected = 0, added = 0;
        const uint32_t here = 5 + 5;  // behind the jump and the call
        for (uint32_t i = 100; i >= 1; --i) {
          const uint32_t bases[] = {guest::kCode, kCodeAlias};
          expected += bases[i % 2] + here + added;
          expected ^= bases[1 - i % 2] + here + added;
          added = i;
        }
        CHECK(o.gpr[kEbx] == expected);
      });
}
