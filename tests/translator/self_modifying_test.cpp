// Code that changes: by itself, ahead of itself, through another address, by string instructions, over and over.
#include <catch2/catch.hpp>

#include "tests/translator/program.h"

using namespace ring3;
using namespace asmjit;
using namespace asmjit::x86;

namespace {

constexpr uint32_t kAlias = 0x3000'0000, kAll = guest::kPresent | guest::kWritable | guest::kUser;

/// A program in a writable code region, which is also mapped at kAlias; run translated and interpreted.
struct Guest {
  explicit Guest(uint32_t cpl) : cpl(cpl) {}

  void Run(const std::function<void(Assembler&)>& write, const std::function<void(const Outcome&)>& check) {
    const Bytes code = Assemble(guest::kCode, write);
    REQUIRE(code.size() < guest::kCodeBytes);
    Outcome outcomes[2];
    unsigned i = 0;
    for (TestMachine* machine : {&translated, &interpreted}) {
      machine->Reset(cpl);
      machine->LoadCode(code, 0);
      for (uint32_t at = 0; at < guest::kCodeBytes; at += kPageSize) {
        const uint32_t frame = machine->Get<uint32_t>(machine->EntryAddress(guest::kCode + at)) & ~kPageMask;
        machine->Map(guest::kCode + at, frame, kAll);
        machine->Map(kAlias + at, frame, kAll);
      }
      outcomes[i++] = machine->Run();
    }
    INFO(Difference(outcomes[0], outcomes[1], {}));
    CHECK(Difference(outcomes[0], outcomes[1], {}).empty());
    check(outcomes[0]);
    translated.CheckInvariants();
  }

  unsigned cpl;
  TestMachine translated, interpreted{{.interpreter = true}};
};

void ForBothLevels(const std::function<void(Guest&)>& test) {
  for (unsigned cpl : {3u, 0u}) {
    Guest guest(cpl);
    test(guest);
  }
}

}  // namespace

TEST_CASE("an instruction that changes the next one, in its own block") {
  ForBothLevels([](Guest& guest) {
    guest.Run(
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
  });
}

TEST_CASE("a store through another virtual address changes the code too") {
  ForBothLevels([](Guest& guest) {
    guest.Run(
        [](Assembler& a) {
          Label next = a.newLabel(), again = a.newLabel();
          a.xor_(eax, eax);
          a.mov(ecx, 2);
          a.lea(edi, ptr(next));
          a.add(edi, kAlias - guest::kCode);
          a.bind(again);
          a.bind(next);
          a.inc(eax);
          a.mov(byte_ptr(edi), 0x90);
          a.loop(again);
          a.int3();
        },
        [](const Outcome& o) { CHECK(o.gpr[kEax] == 1); });
  });
}

TEST_CASE("rep movs over the code that follows it, and over itself") {
  ForBothLevels([](Guest& guest) {
    guest.Run(
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
  });
}

TEST_CASE("a function rewritten 10,000 times gives each time the new result") {
  ForBothLevels([](Guest& guest) {
    guest.Run(
        [](Assembler& a) {
          Label function = a.newLabel(), top = a.newLabel(), start = a.newLabel();
          a.jmp(start);
          a.bind(function);
          a.mov(eax, 0);
          a.ret();
          a.bind(start);
          a.xor_(edx, edx);
          a.mov(ecx, 10000);
          a.lea(edi, ptr(function, 1));
          a.bind(top);
          a.mov(ptr(edi), ecx);
          a.call(function);
          a.add(edx, eax);
          a.dec(ecx);
          a.jnz(top);
          a.int3();
        },
        [](const Outcome& o) { CHECK(o.gpr[kEdx] == 10000u * 10001 / 2); });
  });
}

TEST_CASE("code and hot data on one page, then new code there") {
  ForBothLevels([](Guest& guest) {
    guest.Run(
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
          a.mov(ecx, 5000);
          a.bind(top);
          a.add(dword_ptr(esi), ecx);
          a.call(function);
          a.dec(ecx);
          a.jnz(top);
          a.mov(eax, ptr(esi));
          a.int3();
        },
        [](const Outcome& o) {
          CHECK(o.gpr[kEax] == 5000u * 5001 / 2);
          CHECK(o.gpr[kEbx] == 15000);
        });
    guest.Run(
        [](Assembler& a) {
          Label data = a.newLabel(), top = a.newLabel(), patched = a.newLabel(), start = a.newLabel();
          a.jmp(start);
          a.bind(data);
          a.dd(0);
          a.bind(start);
          a.xor_(ebx, ebx);
          a.lea(esi, ptr(data));
          a.lea(edi, ptr(patched, 2));
          a.mov(ecx, 3000);
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
          for (uint32_t i = 1; i <= 3000; ++i) expected += i & 0x3F;
          CHECK(o.gpr[kEbx] == expected);
          CHECK(o.gpr[kEax] == 3000u * 3001 / 2);
        });
  });
}

TEST_CASE("an instruction across two pages changes when either half does") {
  ForBothLevels([](Guest& guest) {
    guest.Run(
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
  });
}
