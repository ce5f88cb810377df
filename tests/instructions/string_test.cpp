// String instructions: all sizes, directions and repeat prefixes, overlap, page boundaries and faults in the middle.
#include <catch2/catch.hpp>

#include "tests/instructions/trials.h"

using namespace ring3;

namespace {

constexpr uint8_t kOpcodes[] = {0xA4, 0xA5, 0xA6, 0xA7, 0xAA, 0xAB, 0xAC, 0xAD, 0xAE, 0xAF};

Bytes Code(uint8_t opcode, uint8_t repeat, bool wide16) {
  Bytes code;
  if (wide16) code.push_back(0x66);
  if (repeat) code.push_back(repeat);
  code.push_back(opcode);
  code.push_back(0x42);  // inc edx: runs on behind it
  return code;
}

template <class Action>
void ForEach(Action action) {
  for (uint8_t opcode : kOpcodes) {
    for (uint8_t repeat : {0x00, 0xF2, 0xF3}) {
      for (bool wide16 : {false, true}) {
        if (!wide16 || (opcode & 1)) action(Code(opcode, repeat, wide16));
      }
    }
  }
}

}  // namespace

TEST_CASE("counts and directions") {
  Trials trials;
  for (uint32_t count : {0u, 1u, 3u, 100u}) {
    for (uint32_t direction : {0u, eflags::kDf}) {
      trials.adjust = [=](Program& p) {
        p.gpr[kEcx] = count;
        p.eflags = (p.eflags & ~eflags::kDf) | direction;
      };
      trials.seeds = 1;
      ForEach([&](const Bytes& code) { trials.TryBytes("string", code); });
    }
  }
  trials.Report(700);
}

TEST_CASE("scans and comparisons that end early") {
  Trials trials;
  trials.seeds = 1;
  for (uint32_t distance : {0u, 1u, 4u, 0x40u}) {
    trials.adjust = [=](Program& p) {
      p.gpr[kEdi] = p.gpr[kEsi] + distance;
      p.gpr[kEcx] = 200;
    };
    ForEach([&](const Bytes& code) {
      trials.TryBytes("string", code);
      Bytes filled = {0x51, 0x57, 0xF3, 0xAA, 0x5F, 0x59};  // push ecx; push edi; rep stosb; pop edi; pop ecx
      filled.insert(filled.end(), code.begin(), code.end());
      trials.TryBytes("filled first", filled);
    });
  }
  trials.Report(700);
}

TEST_CASE("across pages and into nothing") {
  Trials trials;
  trials.seeds = 1;
  constexpr uint32_t kEnd = guest::kData + guest::kDataBytes;
  struct Place {
    uint32_t esi, edi, ecx;
  };
  for (const Place& at :
       {Place{guest::kData + 0xFF1, guest::kData + 0x2FF3, 64}, Place{kEnd - 30, guest::kData + 64, 64},
        Place{guest::kData + 64, kEnd - 30, 64}, Place{kEnd - 3, kEnd - 1, 2},
        Place{guest::kData + 30, guest::kData + 0x1000, 64}, Place{guest::kData + 10, guest::kData + 7, 64},
        Place{guest::kData, guest::kData + 0x2000, 0x400}, Place{0xFFFF'FFF0, guest::kData, 8}}) {
    for (uint32_t direction : {0u, eflags::kDf}) {
      trials.adjust = [=](Program& p) {
        p.gpr[kEsi] = at.esi;
        p.gpr[kEdi] = at.edi;
        p.gpr[kEcx] = at.ecx;
        p.eflags = (p.eflags & ~eflags::kDf) | direction;
      };
      ForEach([&](const Bytes& code) { trials.TryBytes("string", code); });
    }
  }
  trials.Report(1400);
}

TEST_CASE("16-bit address size and many prefixes") {
  Trials trials;
  trials.cpl3 = false;
  trials.adjust = [](Program& p) {
    p.gpr[kEcx] = 0x50003;
    p.gpr[kEsi] = 0x1234'1000;
    p.gpr[kEdi] = 0x1234'2000;
  };
  ForEach([&](Bytes code) {
    code.insert(code.begin(), 0x67);
    trials.TryBytes("16-bit", code, Reference::kInterpreter);
  });
  trials.cpl3 = true;
  trials.adjust = [](Program& p) { p.gpr[kEcx] &= 31; };
  trials.TryBytes("66 66 66 rep movsw", {0x66, 0x66, 0x66, 0xF3, 0xA5});
  trials.TryBytes("rep 66 66 66 66 stosw", {0xF3, 0x66, 0x66, 0x66, 0x66, 0xAB});
  trials.TryBytes("repne repe scasb", {0xF2, 0xF3, 0xAE});
  trials.TryBytes("repe repne scasb", {0xF3, 0xF2, 0xAE});
  trials.TryBytes("overrides", {0x3E, 0x26, 0x3E, 0xF3, 0xA4});
  trials.TryBytes("ten prefixes", {0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0xF3, 0xA5});
  trials.Report(150);
}
