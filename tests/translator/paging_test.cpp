// Translations against page tables that change: the same EIP means other code after INVLPG or a CR3 load.
#include <catch2/catch.hpp>
#include <cstring>

#include "tests/translator/every_machine.h"

using namespace ring3;
using namespace asmjit;
using namespace asmjit::x86;

namespace {

constexpr uint32_t kFunction = 0x5000'0000, kFirst = 0x20'0000, kSecond = 0x20'2000;
constexpr uint32_t kOtherDirectory = 0x6'0000, kOtherTable = 0x6'1000, kFunctionTable = 0x5'F000;
constexpr uint8_t kVector = 0x40;
/// MOV EAX, imm32 with three bytes in the first of two pages.
constexpr uint32_t kCrossing = kFunction + kPageSize - 3;

/// Frames with functions that set EAX to 1 and 2 at their start, and likewise to 0x01xx1111 and 0x02xx2222 across their
/// end; the first of them mapped at kFunction. Another address space in kOtherDirectory has the second ones there.
void Prepare(TestMachine& machine) {
  for (uint32_t i : {1u, 2u}) {
    const uint32_t frame = i == 1 ? kFirst : kSecond;
    const auto set = [i](uint32_t value) {
      return Assemble(kFunction, [=](Assembler& a) {
        a.mov(eax, i * value);
        a.ret();
      });
    };
    machine.Write(frame, set(1));
    machine.Write(frame + kPageSize - 3, set(0x0100'1111));
    for (uint32_t page : {0u, kPageSize})
      machine.Set<uint32_t>(kOtherTable + page / 1024, (kSecond + page) | kOpenPage);
  }
  const uint32_t directory_entry = guest::kPageDirectory + (kFunction >> 22) * 4;
  if (!machine.Get<uint32_t>(directory_entry)) machine.Set<uint32_t>(directory_entry, kFunctionTable | kOpenPage);
  for (uint32_t page : {0u, kPageSize}) machine.Map(kFunction + page, kFirst + page, kOpenPage);
  Bytes directory(kPageSize);
  std::memcpy(directory.data(), machine.Physical().Flat(GuestPhysical(guest::kPageDirectory)), kPageSize);
  machine.Write(kOtherDirectory, directory);
  machine.Set<uint32_t>(kOtherDirectory + (kFunction >> 22) * 4, kOtherTable | kOpenPage);
}

/// Adds up, in EDX, what calls of `function` return: in each round one call after each of `changes`.
Bytes CallLoop(uint32_t rounds, uint32_t function, std::initializer_list<std::function<void(Assembler&)>> changes) {
  return Assemble(guest::kCode, [&](Assembler& a) {
    Label top = a.newLabel();
    a.xor_(edx, edx);
    a.mov(ecx, rounds);
    a.bind(top);
    for (const auto& change : changes) {
      change(a);
      a.call(uint64_t{function});
      a.rol(edx, 1);
      a.add(edx, eax);
    }
    a.dec(ecx);
    a.jnz(top);
    a.int3();
  });
}

uint32_t Sum(uint32_t rounds, std::initializer_list<uint32_t> values) {
  uint32_t sum = 0;
  for (uint32_t i = 0; i < rounds; ++i) {
    for (uint32_t value : values) sum = (sum << 1 | sum >> 31) + value;
  }
  return sum;
}

std::function<void(TestMachine&, const Outcome&)> Expect(uint32_t sum) {
  return [sum](TestMachine&, const Outcome& out) {
    CHECK(out.vector == 3u);
    CHECK(out.gpr[kEdx] == sum);
  };
}

std::function<void(TestMachine&)> Kernel(const Bytes& code) {
  return [code](TestMachine& machine) {
    machine.Reset(0);
    machine.LoadCode(code, 0);
    Prepare(machine);
  };
}

/// A CPL 3 program whose `int kVector` does `handler`.
std::function<void(TestMachine&)> User(const Bytes& code, const std::function<void(Assembler&)>& handler) {
  return [=](TestMachine& machine) {
    machine.Reset(3);
    machine.LoadCode(code, 0);
    Prepare(machine);
    machine.Write(guest::kLowCode, Assemble(guest::kLowCode, [&](Assembler& a) {
                    a.push(eax);
                    handler(a);
                    a.pop(eax);
                    a.iretd();
                  }));
    machine.SetGate(kVector, guest::kLowCode, 3);
  };
}

/// Puts a frame under a page of kFunction.
std::function<void(Assembler&)> Remap(uint32_t page, uint32_t frame) {
  return [=](Assembler& a) {
    a.mov(dword_ptr(uint64_t{kFunctionTable} + page / 1024), (frame + page) | kOpenPage);
    a.invlpg(ptr(uint64_t{kFunction} + page));
  };
}

std::function<void(Assembler&)> LoadSpace(uint32_t directory) {
  return [directory](Assembler& a) {
    a.mov(eax, directory);
    a.mov(cr3, eax);
  };
}

void Toggle(Assembler& a) {
  a.mov(eax, cr3);
  a.xor_(eax, guest::kPageDirectory ^ kOtherDirectory);
  a.mov(cr3, eax);
}

void CallKernel(Assembler& a) { a.int_(kVector); }
void Nothing(Assembler&) {}

}  // namespace

TEST_CASE("a page that another frame is put under, by INVLPG") {
  RunEverywhere(Scenario{
      "remapped",
      Kernel(CallLoop(100, kFunction, {Remap(0, kFirst), Remap(0, kSecond), Remap(0, kSecond), Remap(0, kFirst)})),
      Expect(Sum(100, {1, 2, 2, 1}))});
}

TEST_CASE("a page that another frame is under in another address space") {
  const Scenario scenarios[] = {
      {"the kernel's", Kernel(CallLoop(100, kFunction, {LoadSpace(guest::kPageDirectory), LoadSpace(kOtherDirectory)})),
       Expect(Sum(100, {1, 2}))},
      {"a user's", User(CallLoop(100, kFunction, {Nothing, CallKernel, CallKernel}), Toggle),
       Expect(Sum(100, {1, 2, 1}))},
  };
  RunEverywhere(scenarios);
}

TEST_CASE("either page of an instruction across two gets another frame") {
  constexpr uint32_t kOldOld = 0x0100'1111, kOldNew = 0x0200'1111, kNewNew = 0x0200'2222, kNewOld = 0x0100'2222;
  const auto sum = Sum(40, {kOldNew, kNewNew, kNewOld, kOldOld});
  const auto first = [](uint32_t frame) { return Remap(0, frame); };
  const auto second = [](uint32_t frame) { return Remap(kPageSize, frame); };
  const Scenario scenarios[] = {
      {"INVLPG in the kernel",
       Kernel(CallLoop(40, kCrossing, {second(kSecond), first(kSecond), second(kFirst), first(kFirst)})), Expect(sum)},
      {"INVLPG for a user",
       User(CallLoop(160, kCrossing, {CallKernel}),
            [&](Assembler& a) {  // the four in turn, by what is there
              Label again = a.newLabel(), there = a.newLabel(), done = a.newLabel();
              a.push(ebx);
              a.mov(ebx, ptr(uint64_t{kFunction + kPageSize - 2}));  // low bytes of the immediate
              a.cmp(bl, 0x11);
              a.jne(there);
              a.mov(ebx, ptr(uint64_t{kFunction + kPageSize}));
              a.test(ebx, 0x0200);
              a.jnz(again);
              second(kSecond)(a);
              a.jmp(done);
              a.bind(again);
              first(kSecond)(a);
              a.jmp(done);
              a.bind(there);
              a.mov(ebx, ptr(uint64_t{kFunction + kPageSize}));
              a.test(ebx, 0x0200);
              Label last = a.newLabel();
              a.jz(last);
              second(kFirst)(a);
              a.jmp(done);
              a.bind(last);
              first(kFirst)(a);
              a.bind(done);
              a.pop(ebx);
            }),
       Expect(sum)},
      {"CR3 loads in the kernel",
       Kernel(CallLoop(50, kCrossing, {LoadSpace(kOtherDirectory), LoadSpace(guest::kPageDirectory)})),
       Expect(Sum(50, {kNewNew, kOldOld}))},
      {"CR3 loads for a user", User(CallLoop(50, kCrossing, {CallKernel, CallKernel}), Toggle),
       Expect(Sum(50, {kNewNew, kOldOld}))},
  };
  RunEverywhere(scenarios);
}

TEST_CASE("direct jumps between kernel pages follow a remapping of their target") {
  // A loop across pages: linked jumps go there and come back, until the target page is another one.
  const auto once = [](Assembler& a) {
    Label same = a.newLabel();
    a.cmp(ecx, 500);
    a.jne(same);
    Remap(0, kSecond)(a);
    a.mov(ebx, cr3);
    a.mov(cr3, ebx);
    a.bind(same);
  };
  uint32_t sum = Sum(500, {1});
  for (int i = 0; i < 500; ++i) sum = (sum << 1 | sum >> 31) + 2;
  RunEverywhere(Scenario{"linked", Kernel(CallLoop(1000, kFunction, {once})), Expect(sum)});
}

TEST_CASE("code that is unmapped faults, and runs again once it is mapped") {
  std::vector<Scenario> scenarios;
  const Bytes code = CallLoop(1, kFunction, {Nothing});
  for (unsigned cpl : {3u, 0u}) {
    const auto prepare = [&code, cpl](TestMachine& m) { (cpl == 3 ? User(code, Nothing) : Kernel(code))(m); };
    scenarios.push_back({"mapped", prepare, Expect(1)});
    scenarios.push_back({"unmapped",
                         [=](TestMachine& m) {
                           prepare(m);
                           m.Unmap(kFunction);
                         },
                         [cpl](TestMachine&, const Outcome& out) {
                           CHECK(out.vector == 14u);
                           CHECK(out.cr2 == kFunction);
                           CHECK(out.eip == kFunction);
                           CHECK(out.error_code == (cpl == 3 ? pferr::kUser : 0));
                           CHECK(out.gpr[kEsp] == guest::kStack + guest::kStackBytes / 2 - 4);
                         }});
    scenarios.push_back({"mapped again",
                         [=](TestMachine& m) {
                           prepare(m);
                           m.Map(kFunction, kSecond, kOpenPage);
                         },
                         Expect(2)});
  }
  RunEverywhere(scenarios);
}

TEST_CASE("a selector that names no descriptor is loaded without a look at memory") {
  TestMachine machine;
  machine.Reset(0);
  machine.Unmap(0);  // where the translation would look that has not seen the register loaded before
  machine.LoadCode(Assemble(guest::kCode,
                            [](Assembler& a) {
                              a.xor_(eax, eax);
                              a.mov(gs, ax);
                              a.push(0);
                              a.db(0x0F), a.db(0xA1);  // pop fs
                              a.hlt();
                            }),
                   0);
  const Outcome out = machine.Run();
  CHECK_FALSE(out.vector);
  CHECK(out.cr2 == 0);
}
