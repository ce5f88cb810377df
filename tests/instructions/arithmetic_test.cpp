// Arithmetic where operand values decide: shifts by edge counts, divisions and #DE, bit strings, exchanges, locks.
#include <catch2/catch.hpp>

#include "tests/instructions/trials.h"

using namespace ring3;
using namespace asmjit::x86;

TEST_CASE("shifts and rotates by every count") {
  Trials trials;
  trials.cpl0 = false;
  for (uint8_t count : {0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 255}) {
    for (uint8_t op = 0; op < 8; ++op) {
      const auto r = static_cast<uint8_t>(op << 3);
      for (const Bytes& prefix : {Bytes{}, Bytes{0x66}}) {
        const auto with = [&](std::initializer_list<uint8_t> tail) {
          Bytes code = prefix;
          code.insert(code.end(), tail);
          return code;
        };
        trials.TryBytes("imm", with({0xC1, static_cast<uint8_t>(0xC2 | r), count}));
        trials.TryBytes("imm8", with({0xC0, static_cast<uint8_t>(0xC6 | r), count}));
        trials.TryBytes("cl", with({0xB1, count, 0xD3, static_cast<uint8_t>(0xC2 | r)}));
        trials.TryBytes("cl m", with({0xB1, count, 0xD3, static_cast<uint8_t>(0x03 | r)}));
        trials.TryBytes("one", with({0xD1, static_cast<uint8_t>(0xC5 | r)}));
      }
    }
    trials.TryBytes("shld", {0x0F, 0xA4, 0xC2, count});
    trials.TryBytes("shrd", {0x0F, 0xAC, 0x03, count});
    trials.TryBytes("shld cl", {0xB1, count, 0x0F, 0xA5, 0xC5});
  }
  trials.Report(3000);
}

TEST_CASE("multiplication and division at the edges, #DE included") {
  Trials trials;
  trials.seeds = 1;
  struct Values {
    uint32_t eax, edx, ecx;
  };
  for (const Values& v : {Values{0, 0, 0}, Values{1, 0, 0}, Values{100, 0, 7}, Values{0xFFFF'FFFF, 0, 1},
                          Values{0, 1, 1}, Values{0x8000'0000, 0xFFFF'FFFF, 0xFFFF'FFFF}, Values{0, 0x8000'0000, 2},
                          Values{0xFFFF'FFFF, 6, 7}, Values{0xFFFF'FFFF, 7, 7}, Values{0x8000, 0xFFFF, 0xFFFF},
                          Values{0xFF80, 0xFFFF'FFFF, 0xFF}, Values{0x1234'5678, 0x9, 0x8000'0000}}) {
    trials.adjust = [v](Program& p) {
      p.gpr[kEax] = v.eax;
      p.gpr[kEdx] = v.edx;
      p.gpr[kEcx] = v.ecx;
    };
    for (uint8_t op : {4, 5, 6, 7}) {
      const auto rm = static_cast<uint8_t>(0xC1 | op << 3), mem = static_cast<uint8_t>(0x03 | op << 3);
      trials.TryBytes("32", {0xF7, rm});
      trials.TryBytes("16", {0x66, 0xF7, rm});
      trials.TryBytes("8", {0xF6, rm});
      trials.TryBytes("8 high", {0xF6, static_cast<uint8_t>(0xC5 | op << 3)});
      trials.TryBytes("m", {0x89, 0x0B, 0xF7, mem});
      trials.TryBytes("m8", {0x89, 0x0B, 0xF6, mem});
    }
    trials.TryBytes("imul2", {0x0F, 0xAF, 0xC1});
    trials.TryBytes("aam", {0xD4, 0x0A}, Reference::kNative, {.flags = eflags::kOf | eflags::kAf | eflags::kCf});
    trials.TryBytes("aam 0", {0xD4, 0x00});
  }
  trials.Report(500);
}

TEST_CASE("bit strings whose index leaves the operand") {
  Trials trials;
  for (int32_t index : {0, 1, 31, 32, 63, 1000, -1, -32, -33, -1000}) {
    trials.adjust = [index](Program& p) { p.gpr[kEcx] = static_cast<uint32_t>(index); };
    for (uint8_t op : {0xA3, 0xAB, 0xB3, 0xBB}) {
      trials.TryBytes("m32", {0x0F, op, 0x0B});
      trials.TryBytes("m16", {0x66, 0x0F, op, 0x0B});
      trials.TryBytes("[esp+8]", {0x0F, op, 0x4C, 0x24, 0x08});
      trials.TryBytes("[ebp+edx]", {0x31, 0xD2, 0x0F, op, 0x4C, 0x15, 0x00});
      trials.TryBytes("r32", {0x0F, op, 0xCA});
    }
    trials.TryBytes("lock bts", {0xF0, 0x0F, 0xAB, 0x0B});
    trials.TryBytes("imm", {0x0F, 0xBA, 0x2B, static_cast<uint8_t>(index)});
  }
  trials.Report(1200);
}

TEST_CASE("exchanges") {
  Trials trials;
  trials.seeds = 4;
  for (bool equal : {false, true}) {
    trials.adjust = [equal](Program& p) {
      if (equal) p.gpr[kEax] = p.gpr[kEdx];
    };
    for (const Bytes& lock : {Bytes{}, Bytes{0xF0}}) {
      const auto with = [&](std::initializer_list<uint8_t> tail) {
        Bytes code = lock;
        code.insert(code.end(), tail);
        return code;
      };
      trials.TryBytes("cmpxchg", with({0x0F, 0xB1, 0x0B}));
      trials.TryBytes("cmpxchg8", with({0x0F, 0xB0, 0x2B}));
      trials.TryBytes("cmpxchg8b", with({0x0F, 0xC7, 0x0B}));
      trials.TryBytes("cmpxchg8b misaligned", with({0x0F, 0xC7, 0x4F, 0x01}));
      trials.TryBytes("xadd", with({0x0F, 0xC1, 0x13}));
      trials.TryBytes("xadd esp", with({0x0F, 0xC1, 0x44, 0x24, 0x04}));
      trials.TryBytes("xchg", with({0x87, 0x0B}));
      trials.TryBytes("neg", with({0xF7, 0x1B}));
      trials.TryBytes("lock add r", with({0x01, 0xC8}));  // #UD
      trials.TryBytes("lock mov", with({0x89, 0x03}));    // #UD
      trials.TryBytes("lock cmp", with({0x39, 0x03}));    // #UD
    }
    trials.TryBytes("cmpxchg8b equal", {0x8B, 0x03, 0x8B, 0x53, 0x04, 0x0F, 0xC7, 0x0B});
    trials.TryBytes("cmpxchg r", {0x0F, 0xB1, 0xCA});
    trials.TryBytes("xchg eax, r", {0x91, 0x92, 0x94, 0x95, 0x96, 0x94});
  }
  trials.Report(350);
}

TEST_CASE("BSF stays BSF with a repeat prefix on models without TZCNT and LZCNT") {
  TestMachine machine({.model = "n270"});
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    for (uint8_t opcode : {0xBC, 0xBD}) {
      for (const Bytes& operand : {Bytes{0xC1}, Bytes{0xC4}, Bytes{0xE1}, Bytes{0x03}}) {
        Bytes prefixed = {0xF3, 0x0F, opcode}, plain = {0x90, 0x0F, opcode};
        prefixed.insert(prefixed.end(), operand.begin(), operand.end());
        plain.insert(plain.end(), operand.begin(), operand.end());
        Program program = MakeProgram(prefixed, seed, 3);
        if (seed % 4 == 0) program.gpr[kEcx] = 0;
        const Outcome actual = RunOn(machine, program);
        program.code = plain;
        INFO(Describe(program));
        CHECK(Difference(actual, RunNatively(program), {.selectors = true}).empty());
      }
    }
  }
}
