// Calls of PC thunks: what they leave in registers, flags and on the stack, and thunks that are no longer what they
// were.
#include "translator/thunks.h"

#include <catch2/catch.hpp>
#include <cstring>

#include "tests/translator/every_machine.h"

using namespace ring3;
using namespace asmjit;
using namespace asmjit::x86;

namespace {

constexpr uint32_t kRounds = 1000;

void Thunk(Assembler& a, Label& label, const Gp& reg) {
  a.bind(label);
  a.mov(reg, dword_ptr(esp));
  a.ret();
}

}  // namespace

TEST_CASE("what is a PC thunk, and what only resembles one") {
  const auto reg = [](std::vector<uint8_t> code) { return ThunkRegister(code); };
  CHECK(reg({0x8B, 0x1C, 0x24, 0xC3}) == kEbx);
  CHECK(reg({0x8B, 0x04, 0x24, 0xC3, 0x90}) == kEax);
  CHECK(reg({0x8B, 0x2C, 0x24, 0xC3}) == kEbp);
  CHECK(!reg({0x8B, 0x24, 0x24, 0xC3}));  // mov esp, [esp]
  CHECK(!reg({0x8B, 0x1C, 0x25, 0xC3}));
  CHECK(!reg({0x89, 0x1C, 0x24, 0xC3}));
  CHECK(!reg({0x8B, 0x1C, 0x24, 0xC2}));
  CHECK(!reg({0x8B, 0x5C, 0x24, 0xC3}));
  CHECK(!reg({0x8B, 0x1C, 0x24}));
}

TEST_CASE("a cell is cleared only of what it holds") {
  ThunkCells cells, untouched;
  const auto same = [](const ThunkCells& a, const ThunkCells& b) { return std::memcmp(&a, &b, sizeof a) == 0; };
  cells.Set(kEbx, 0x1000, 0x500);
  CHECK(!same(cells, untouched));
  cells.Clear(kEbx, 0x1000, 0x510);
  CHECK(!same(cells, untouched));
  cells.Clear(kEbx, 0x1000, 0x500);
  CHECK(same(cells, untouched));
}

TEST_CASE("thunks for each register give the address behind their call, and leave it on the stack") {
  for (const Gp& reg : {eax, edx, ebx, ebp, esi, edi, ecx}) {
    RunChangingCode(
        [reg](Assembler& a) {
          Label thunk = a.newLabel(), start = a.newLabel();
          a.jmp(start);
          Thunk(a, thunk, reg);
          a.bind(start);
          a.push(0);  // the sum of differences
          CountDown(a, kRounds, [&](Assembler& b) {
            Label behind = b.newLabel();
            b.push(ecx);
            b.cmp(ecx, 500);
            b.call(thunk);
            b.bind(behind);
            b.adc(dword_ptr(esp, 4), 0);  // the flags came through
            b.sub(reg, dword_ptr(esp, -4));
            b.add(dword_ptr(esp, 4), reg);
            b.pop(ecx);
          });
          a.pop(eax);
          a.int3();
        },
        [](const Outcome& o) { CHECK(o.gpr[kEax] == 499); });
  }
}

TEST_CASE("a thunk that gets another register, or becomes something else") {
  for (const uint32_t alias : {0u, kCodeAlias - guest::kCode}) {
    RunChangingCode(
        [alias](Assembler& a) {
          Label thunk = a.newLabel(), start = a.newLabel();
          a.jmp(start);
          a.align(AlignMode::kCode, 64);
          Thunk(a, thunk, ebx);
          a.align(AlignMode::kCode, 64);
          a.bind(start);
          a.xor_(eax, eax);
          a.lea(edi, ptr(thunk, static_cast<int32_t>(1 + alias)));
          CountDown(a, kRounds, [&](Assembler& b) {
            b.xor_(ebx, ebx);
            b.xor_(edx, edx);
            b.call(thunk);
            b.cmp(ebx, 1);
            b.adc(eax, 0);                // counts calls that left EBX alone
            b.xor_(byte_ptr(edi), 0x08);  // mov ebx <-> mov edx
          });
          a.int3();
        },
        [](const Outcome& o) { CHECK(o.gpr[kEax] == kRounds / 2); });
  }
}

TEST_CASE("the page with the thunk is another one by then") {
  constexpr uint32_t kCaller = 0x3100'0000, kThunk = kCaller + kPageSize, kFrame = guest::kScratchFrames;
  RunEverywhere({"remap",
                 [=](TestMachine& machine) {
                   machine.Reset(0);
                   constexpr uint32_t kFlags = guest::kPresent | guest::kWritable;
                   machine.Map(kThunk, kFrame, kFlags);
                   machine.Map(kCaller, kFrame + kPageSize, kFlags);
                   const uint32_t entry = machine.EntryAddress(kThunk);
                   for (const Gp& reg : {ebx, edx}) {
                     machine.Write(kFrame + (reg == ebx ? 0 : 2 * kPageSize), Assemble(kThunk, [&](Assembler& a) {
                                     a.mov(reg, dword_ptr(esp));
                                     a.ret();
                                   }));
                   }
                   machine.Write(kFrame + kPageSize, Assemble(kCaller, [&](Assembler& a) {
                                   a.xor_(eax, eax);
                                   CountDown(a, kRounds, [&](Assembler& b) {
                                     b.xor_(ebx, ebx);
                                     b.call(imm(kThunk));
                                     b.cmp(ebx, 1);
                                     b.adc(eax, 0);
                                     b.xor_(dword_ptr(uint64_t{entry}), 2 * kPageSize);
                                     b.invlpg(ptr(uint64_t{kThunk}));
                                   });
                                   a.hlt();
                                 }));
                   machine.State().eip = kCaller;
                 },
                 [](TestMachine&, const Outcome& o) { CHECK(o.gpr[kEax] == kRounds / 2); }});
}

TEST_CASE("a thunk called at an address where there is none faults there") {
  RunChangingCode(
      [](Assembler& a) {
        a.call(imm(0x3200'0000));
        a.int3();
      },
      [](const Outcome&) {});
}
