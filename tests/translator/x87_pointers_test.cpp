// The x87 instruction and operand pointers that a guest loaded, and what it finds in images that it saves later.
#include <catch2/catch.hpp>
#include <cstring>

#include "tests/translator/program.h"

using namespace ring3;
using namespace asmjit;
using namespace asmjit::x86;

namespace {

constexpr unsigned kFop = 6, kFip = 8, kMxcsr = 24, kPointerBytes = kMxcsr - kFop;
constexpr uint32_t kSaved = 0x400;  // from EBX

Bytes ImageWithPointers() {
  Bytes image(512);
  const auto put = [&](unsigned at, uint32_t value, unsigned bytes) { std::memcpy(&image[at], &value, bytes); };
  put(0, 0x37F, 2);
  put(kFop, 0x5AB, 2);
  put(kFip, 0x1234'5678, 4);
  put(kFip + 4, guest::kCode3, 2);
  put(kFip + 8, 0x0BCD'EF01, 4);
  put(kFip + 12, guest::kData3, 2);
  put(kMxcsr, 0x1F80, 4);
  return image;
}

/// FXRSTOR, then `between`, FXSAVE and a comparison of the pointers with `expected`, often; ends with EAX 0 if all
/// were.
Program LoadAndSave(unsigned cpl, const Bytes& expected, const std::function<void(Assembler&)>& between) {
  constexpr uint32_t kExpected = 0x800;
  Program program = MakeProgram(Assemble(guest::kCode + Program().offset,
                                         [&](Assembler& a) {
                                           constexpr uint32_t kRounds = 3000;
                                           Label again = a.newLabel(), differs = a.newLabel();
                                           a.mov(edx, kRounds);
                                           a.cld();
                                           a.bind(again);
                                           a.fxrstor(ptr(ebx));
                                           between(a);
                                           a.fxsave(ptr(ebx, kSaved));
                                           a.lea(esi, ptr(ebx, kSaved + kFop));
                                           a.lea(edi, ptr(ebx, kExpected));
                                           a.mov(ecx, kPointerBytes);
                                           a.repe().cmpsb();
                                           a.mov(eax, edx);
                                           a.jne(differs);
                                           a.dec(edx);
                                           a.jnz(again);
                                           a.xor_(eax, eax);
                                           a.bind(differs);
                                           a.int3();
                                         }),
                                1, cpl);
  program.gpr[kEbx] = guest::kData;
  program.eflags = eflags::kReserved1 | eflags::kIf;
  program.patches = {{guest::kData, ImageWithPointers()}, {guest::kData + kExpected, expected}};
  return program;
}

void Spin(Assembler& a) {
  constexpr uint32_t kTurns = 2000;
  Label turn = a.newLabel();
  a.mov(ecx, kTurns);
  a.bind(turn);
  a.dec(ecx);
  a.jnz(turn);
}

void CheckKicked(const Bytes& expected, const std::function<void(Assembler&)>& between) {
  constexpr uint64_t kKickEveryNs = 50'000;
  for (const unsigned cpl : {3u, 0u}) {
    TestMachine machine;
    const KickTimer timer(kKickEveryNs);
    const Outcome outcome = RunOn(machine, LoadAndSave(cpl, expected, between));
    INFO("CPL " << cpl << ", rounds left " << outcome.gpr[kEax]);
    CHECK(outcome.vector == 3u);
    CHECK(outcome.gpr[kEax] == 0);
    CHECK(machine.Signals().kicks_in_translated_code > 3);
  }
}

}  // namespace

TEST_CASE("x87 pointers that the guest loaded survive host signals") {
  const Bytes image = ImageWithPointers();
  CheckKicked({image.begin() + kFop, image.begin() + kMxcsr}, Spin);
}

TEST_CASE("FNINIT clears the x87 pointers, whatever was loaded before and is set up after it") {
  CheckKicked(Bytes(kPointerBytes), [](Assembler& a) {
    a.fninit();
    a.mov(word_ptr(ebx, 0x900), 0x27F);
    a.fldcw(word_ptr(ebx, 0x900));
    Spin(a);
  });
}
