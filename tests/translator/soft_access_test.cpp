// Ring 0 code whose user pages keep losing their mappings, until its accesses are demoted and done in callouts: each
// kind of move, faults, strings, writes to code.
#include <catch2/catch.hpp>

#include "tests/translator/every_machine.h"

using namespace ring3;
using namespace asmjit;
using namespace asmjit::x86;

namespace {

constexpr uint32_t kRounds = 300;  // sites are demoted one after the other

/// Lets a page's entry be seen without P once, which drops its mapping.
void EmitRemap(Assembler& a, uint32_t entry, uint32_t linear) {
  a.xor_(dword_ptr(entry), guest::kPresent);
  a.invlpg(ptr(linear));
  a.xor_(dword_ptr(entry), guest::kPresent);
}

struct Pages {
  uint32_t first, second;  // entries of the first two pages of data
};

using Body = std::function<void(Assembler&, Pages)>;

Bytes RemapLoop(TestMachine& machine, const Body& body) {
  const Pages pages{machine.EntryAddress(guest::kData), machine.EntryAddress(guest::kData + kPageSize)};
  return Assemble(guest::kCode, [&](Assembler& a) {
    Label top = a.newLabel();
    a.mov(dword_ptr(guest::kStack), kRounds);
    a.bind(top);
    EmitRemap(a, pages.first, guest::kData);
    EmitRemap(a, pages.second, guest::kData + kPageSize);
    body(a, pages);
    a.dec(dword_ptr(guest::kStack));
    a.jnz(top);
    a.int3();
  });
}

Scenario Remapping(const char* name, const Body& body) {
  return {name, [body](TestMachine& machine) {
            machine.Reset(0);
            machine.LoadCode(RemapLoop(machine, body), 0);
            for (uint32_t gpr : {kEax, kEcx, kEdx, kEbx, kEbp})
              machine.State().gpr[gpr] = 0x1234'5678 * gpr + 0x9ABC'DEF0;
            machine.State().gpr[kEsi] = guest::kData + 0x80;
            machine.State().gpr[kEdi] = guest::kData + kPageSize + 0x40;
            machine.Write(guest::kDataFrames, Bytes(guest::kDataBytes, 0xA5));
            machine.Write(guest::kStackFrames, Bytes(guest::kStackBytes));
          }};
}

void Moves(Assembler& a, Pages) {
  a.stc();
  a.mov(ptr(esi), eax);
  a.mov(word_ptr(esi, 6), dx);
  a.mov(byte_ptr(esi, 9), ah);
  a.mov(byte_ptr(esi, 10), bl);
  a.mov(byte_ptr(edi, 3), ch);
  a.mov(dword_ptr(edi, 8), 0x8765'4321);
  a.mov(word_ptr(edi, 12), 0x8001);
  a.mov(byte_ptr(edi, 14), 0xFE);
  a.adc(ebp, 7);
  a.mov(ebx, ptr(esi, 1));
  a.mov(cx, ptr(edi, 7));
  a.mov(dh, ptr(esi, 9));
  a.mov(al, ptr(edi, 14));
  a.sbb(ebp, ebx);
  a.movzx(edx, byte_ptr(edi, 14));
  a.movzx(ecx, word_ptr(edi, 12));
  a.movsx(eax, byte_ptr(edi, 14));
  a.movsx(ax, byte_ptr(edi, 14));
  a.add(ebx, eax);
  a.movsx(eax, word_ptr(edi, 12));
  a.mov(ebp, ptr(esi));
  a.add(eax, ebp);
  a.mov(esp, ptr(guest::kStack + 4));
  a.lea(ebp, ptr(ebp, ebx, 1, 3));
  a.mov(eax, ptr(guest::kData + kPageSize - 2));  // in two pages
  a.mov(ptr(guest::kData + kPageSize - 3), ebp);
}

void Strings(Assembler& a, Pages) {
  for (const uint32_t count : {0u, 1u, 5u, 33u}) {
    a.mov(esi, guest::kData + 0x80);
    a.mov(edi, guest::kData + kPageSize + 0x40);
    a.mov(ecx, count);
    a.rep().movsb();
    a.mov(ecx, count);
    a.rep().movsd();
    a.movsw();
    a.mov(ecx, count);
    a.rep().stosd();
    a.stosb();
    a.mov(ecx, count);
    a.rep().stosw();
    a.inc(eax);
    a.lea(edi, ptr(esi, 3));  // overlapping
    a.mov(ecx, count);
    a.rep().movsb();
    a.std();
    a.mov(ecx, count);
    a.rep().movsd();
    a.movsb();
    a.cld();
  }
  a.mov(edi, guest::kData + kPageSize - 7);  // in two pages
  a.mov(ecx, 3);
  a.rep().stosd();
}

void FaultInLastRound(Assembler& a, Pages pages) {
  Label mapped = a.newLabel();
  a.mov(eax, ptr(esi));
  a.mov(ptr(esi, 4), eax);
  a.cmp(dword_ptr(guest::kStack), 2);
  a.ja(mapped);
  a.and_(dword_ptr(pages.first), ~(guest::kPresent | guest::kWritable));
  a.invlpg(ptr(guest::kData));
  a.bind(mapped);
  a.mov(ecx, 9);
  a.push(esi);
  a.push(edi);
  a.rep().movsb();
  a.pop(edi);
  a.pop(esi);
  a.mov(ptr(esi, 8), eax);
}

/// A function in a user page, whose constant a demoted store changes.
void WriteCode(Assembler& a, Pages) {
  a.mov(ecx, ptr(guest::kStack));
  a.mov(byte_ptr(esi), 0xB8);  // mov eax, imm32; ret
  a.mov(byte_ptr(esi, 5), 0xC3);
  a.mov(ptr(esi, 1), ecx);
  a.call(esi);
  a.rol(edx, 1);
  a.add(edx, eax);
}

uint64_t SoftAccesses(const Body& body) {
  TestMachine machine;
  Remapping("", body).prepare(machine);
  machine.Run();
  return machine.Engine().Callouts().done[static_cast<unsigned>(Callout::kSoftAccess)];
}

}  // namespace

TEST_CASE("soft accesses: moves of every kind do what they always do") {
  RunEverywhere(Remapping("moves", Moves));
  CHECK(SoftAccesses(Moves) > kRounds);
}

TEST_CASE("soft accesses: strings in both directions, overlapping, and of no element") {
  RunEverywhere(Remapping("strings", Strings));
  CHECK(SoftAccesses(Strings) > kRounds);
}

TEST_CASE("soft accesses: a page that is taken away faults at the demoted site") {
  RunEverywhere(Remapping("fault", FaultInLastRound));
}

TEST_CASE("soft accesses: a demoted store to translated code is seen") { RunEverywhere(Remapping("code", WriteCode)); }

TEST_CASE("soft accesses: pages that a kernel maps for a moment are not mapped again and again") {
  constexpr uint32_t kMoment = 0x5000'0000, kFlags = guest::kPresent | guest::kWritable;
  const Scenario scenario{"moments", [](TestMachine& machine) {
                            machine.Reset(0);
                            machine.Map(kMoment, guest::kScratchFrames, kFlags);
                            const uint32_t entry = machine.EntryAddress(kMoment);
                            machine.LoadCode(Assemble(guest::kCode,
                                                      [&](Assembler& a) {
                                                        Label top = a.newLabel();
                                                        a.mov(ecx, kRounds);
                                                        a.bind(top);
                                                        a.xor_(dword_ptr(entry), kPageSize);
                                                        a.invlpg(ptr(kMoment));
                                                        a.mov(ptr(kMoment + 4), ecx);
                                                        a.mov(eax, ptr(kMoment + 8));
                                                        a.dec(ecx);
                                                        a.jnz(top);
                                                        a.int3();
                                                      }),
                                             0);
                          }};
  RunEverywhere(scenario);
  TestMachine machine;
  scenario.prepare(machine);
  machine.Run();
  CHECK(machine.Signals().faults < kRounds / 4);
}
