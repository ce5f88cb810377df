// Control transfer within the program: both ways of every condition, counted loops, calls and returns of all forms.
#include <catch2/catch.hpp>

#include "tests/instructions/trials.h"

using namespace ring3;
using namespace asmjit::x86;
using asmjit::Label;

TEST_CASE("every condition, short and near, from many flags") {
  Trials trials;
  trials.seeds = 12;
  for (uint8_t condition = 0; condition < 16; ++condition) {
    const uint8_t near_jcc = 0x80 | condition, short_jcc = 0x70 | condition;
    trials.TryBytes("short", {short_jcc, 0x02, 0x40, 0x40, 0x41});
    trials.TryBytes("near", {0x0F, near_jcc, 0x02, 0x00, 0x00, 0x00, 0x40, 0x40, 0x41});
    // Over the end of the page, and far outside.
    trials.TryBytes("other page", {0x0F, near_jcc, 0x00, 0x09, 0x00, 0x00, 0x41});
    trials.TryBytes("nowhere", {0x0F, near_jcc, 0x00, 0x00, 0x10, 0x00, 0x41});
    trials.TryBytes("hinted", {0x3E, short_jcc, 0x01, 0x40, 0x41});
    trials.TryBytes("setcc, cmovcc", {0x0F, static_cast<uint8_t>(0x90 | condition), 0xC4, 0x0F,
                                      static_cast<uint8_t>(0x40 | condition), 0xD1});
  }
  trials.Report(2000);
}

TEST_CASE("counted loops") {
  Trials trials;
  trials.seeds = 4;
  for (uint32_t count : {0u, 1u, 2u, 5u, 0x10000u, 0x10001u}) {
    trials.adjust = [count](Program& p) { p.gpr[kEcx] = count; };
    trials.TryBytes("jecxz", {0xE3, 0x01, 0x40, 0x43});
    trials.TryBytes("jcxz", {0x67, 0xE3, 0x01, 0x40, 0x43});
    trials.TryBytes("loop forward", {0xE2, 0x01, 0x40, 0x43});
    trials.TryBytes("loope forward", {0xE1, 0x01, 0x40, 0x43});
    trials.TryBytes("loopne forward", {0xE0, 0x01, 0x40, 0x43});
    trials.TryBytes("loop cx", {0x67, 0xE2, 0x01, 0x40, 0x43});
    if (count == 0) continue;
    trials.TryBytes("loop", {0x40, 0x01, 0xC2, 0xE2, 0xFB});
    trials.TryBytes("loope", {0x85, 0xC0, 0xE1, 0xFC, 0x43});
    trials.TryBytes("loopne", {0x05, 0x45, 0x23, 0x01, 0x00, 0xE0, 0xF9});
    trials.TryBytes("loop to the other page", {0xE2, 0x7F});
  }
  trials.Report(350);
}

TEST_CASE("calls and returns") {
  Trials trials;
  const auto body = [](Assembler& a, const std::function<void(Assembler&, Label)>& call) {
    Label function = a.newLabel(), end = a.newLabel();
    call(a, function);
    a.add(eax, 1);
    a.jmp(end);
    a.bind(function);
    a.add(edx, ptr(esp));
    a.ret();
    a.bind(end);
  };
  trials.Try("call", [&](Assembler& a) { body(a, [](Assembler& b, Label f) { b.call(f); }); });
  trials.Try("call r", [&](Assembler& a) {
    body(a, [](Assembler& b, Label f) {
      b.lea(edi, ptr(f));
      b.call(edi);
    });
  });
  trials.Try("call m", [&](Assembler& a) {
    body(a, [](Assembler& b, Label f) {
      b.lea(edi, ptr(f));
      b.mov(ptr(ebx), edi);
      b.call(ptr(ebx));
    });
  });
  for (int32_t offset : {0, 8, -4, -8}) {
    trials.Try("call [esp+d]", [&](Assembler& a) {
      body(a, [&](Assembler& b, Label f) {
        b.lea(edi, ptr(f));
        b.mov(ptr(esp, offset), edi);
        b.call(ptr(esp, offset));
      });
    });
  }
  trials.Try("jmp m", [](Assembler& a) {
    Label target = a.newLabel();
    a.lea(edi, ptr(target));
    a.mov(ptr(ebx, 12), edi);
    a.jmp(ptr(ebx, 12));
    a.inc(eax);
    a.bind(target);
    a.inc(edx);
  });
  trials.Try("jump table", [](Assembler& a) {
    Label first = a.newLabel(), second = a.newLabel(), end = a.newLabel();
    a.lea(edi, ptr(first));
    a.mov(ptr(ebx), edi);
    a.lea(edi, ptr(second));
    a.mov(ptr(ebx, 4), edi);
    a.and_(ecx, 1);
    a.jmp(ptr(ebx, ecx, 2));
    a.bind(first);
    a.inc(eax);
    a.jmp(end);
    a.bind(second);
    a.inc(edx);
    a.bind(end);
  });
  trials.Try("call next; pop", [](Assembler& a) {
    Label next = a.newLabel();
    a.call(next);
    a.bind(next);
    a.pop(ebx);
  });
  trials.Try("push; ret", [](Assembler& a) {
    Label target = a.newLabel();
    a.lea(edi, ptr(target));
    a.push(edi);
    a.ret();
    a.inc(eax);
    a.bind(target);
    a.inc(edx);
  });
  for (unsigned pop : {0u, 4u, 8u, 0x100u}) {
    trials.Try("ret n", [&](Assembler& a) {
      Label target = a.newLabel();
      a.lea(edi, ptr(target));
      a.push(eax);
      a.push(edi);
      a.ret(pop);
      a.inc(eax);
      a.bind(target);
      a.inc(edx);
    });
  }
  trials.TryBytes("repz ret", {0x68, 0x0A, 0x08, 0x00, 0x10, 0xF3, 0xC3, 0x40, 0x40, 0x40, 0x42});
  trials.TryBytes("ret n with the sign bit", {0xC2, 0x00, 0x80});
  trials.Try("recursion", [](Assembler& a) {
    Label fib = a.newLabel(), base = a.newLabel(), end = a.newLabel();
    a.mov(eax, 9);
    a.call(fib);
    a.jmp(end);
    a.bind(fib);
    a.cmp(eax, 2);
    a.jb(base);
    a.push(eax);
    a.dec(eax);
    a.call(fib);
    a.xchg(eax, ptr(esp));
    a.sub(eax, 2);
    a.call(fib);
    a.pop(edx);
    a.add(eax, edx);
    a.bind(base);
    a.ret();
    a.bind(end);
  });
  trials.Report(100);
}

TEST_CASE("transfers with a 16-bit operand end below 64 KiB") {
  Trials trials;
  trials.cpl3 = false;  // what lies there is the supervisor's
  for (const Bytes& code :
       {Bytes{0x66, 0xEB, 0x00}, Bytes{0x66, 0xE9, 0x00, 0x00}, Bytes{0x66, 0xE8, 0x00, 0x00}, Bytes{0x66, 0x74, 0x00},
        Bytes{0x66, 0x0F, 0x85, 0x00, 0x00}, Bytes{0x66, 0xE2, 0x00}, Bytes{0x66, 0xE3, 0x00}}) {
    trials.TryBytes("16-bit transfer", code, Reference::kInterpreter);
  }
  trials.TryBytes("call r16", {0x66, 0xB8, 0x00, 0xB0, 0x66, 0xFF, 0xD0}, Reference::kInterpreter);
  trials.TryBytes("jmp r16", {0x66, 0xB8, 0x00, 0xB0, 0x66, 0xFF, 0xE0}, Reference::kInterpreter);
  trials.TryBytes("ret16", {0x66, 0x68, 0x00, 0xB0, 0x66, 0xC3}, Reference::kInterpreter);
  trials.Report(30);
}

TEST_CASE("instructions across the page boundary") {
  Trials trials;
  const std::vector<Bytes> codes = {{0xB8, 1, 2, 3, 4},
                                    {0x81, 0x84, 0x8B, 0x10, 0, 0, 0, 5, 6, 7, 8},
                                    {0x0F, 0x85, 0x00, 0x01, 0x00, 0x00},
                                    {0xE8, 0x00, 0x01, 0x00, 0x00},
                                    {0x66, 0x0F, 0x6F, 0x03},
                                    {0xF3, 0xA4},
                                    {0x8F, 0x44, 0x24, 0x08},
                                    {0xD9, 0x83, 0x00, 0x01, 0x00, 0x00}};
  for (const Bytes& instruction : codes) {
    for (size_t before = 1; before < instruction.size(); ++before) {
      Bytes code = {0x40, 0x41};
      code.insert(code.end(), instruction.begin(), instruction.end());
      code.push_back(0x42);
      for (uint32_t seed : {1u, 2u}) {
        for (unsigned cpl : {0u, 3u}) {
          Program p = MakeProgram(code, seed, cpl);
          p.gpr[kEcx] = 5;
          p.offset = static_cast<uint32_t>(kPageSize - before - 2);
          trials.Compare("crossing", p, Reference::kBoth);
          // The second page is missing altogether: the code region ends there.
          p.offset += kPageSize;
          p.code.resize(guest::kCodeBytes - p.offset);
          trials.Compare("crossing into nothing", p, Reference::kBoth);
        }
      }
    }
  }
  trials.Report(200);
}
