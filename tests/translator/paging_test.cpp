// Translations against page tables that change: the same EIP means other code after INVLPG or a CR3 load.
#include <catch2/catch.hpp>

#include "tests/translator/program.h"

using namespace ring3;
using namespace asmjit;
using namespace asmjit::x86;

namespace {

constexpr uint32_t kFunction = 0x5000'0000, kFirst = 0x20'0000, kSecond = 0x20'1000;
constexpr uint32_t kOtherDirectory = 0x6'0000, kOtherTable = 0x6'1000;
constexpr uint32_t kAll = guest::kPresent | guest::kWritable | guest::kUser;

/// Two frames with functions that set EAX to 1 and 2, the first of them mapped at kFunction; an address space in
/// kOtherDirectory that has the second one there.
void Prepare(TestMachine& machine) {
  for (uint32_t i : {1u, 2u}) {
    const Bytes code = Assemble(kFunction, [i](Assembler& a) {
      a.mov(eax, i);
      a.ret();
    });
    machine.Write(i == 1 ? kFirst : kSecond, code);
  }
  machine.Map(kFunction, kFirst, kAll);
  std::array<uint8_t, kPageSize> directory;
  for (uint32_t i = 0; i < kPageSize; ++i) directory[i] = machine.Get<uint8_t>(guest::kPageDirectory + i);
  machine.Write(kOtherDirectory, directory);
  machine.Set<uint32_t>(kOtherTable, kSecond | kAll);
  machine.Set<uint32_t>(kOtherDirectory + (kFunction >> 22) * 4, kOtherTable | kAll);
}

Outcome RunKernel(TestMachine& machine, const std::function<void(Assembler&)>& write) {
  machine.Reset(0);
  Prepare(machine);
  machine.LoadCode(Assemble(guest::kCode, write), 0);
  return machine.Run();
}

}  // namespace

TEST_CASE("a page that another frame is put under, by INVLPG") {
  TestMachine machine;
  const uint32_t entry = machine.EntryAddress(kFunction);
  const Outcome out = RunKernel(machine, [&](Assembler& a) {
    Label top = a.newLabel();
    a.xor_(edx, edx);
    a.mov(ecx, 100);
    a.bind(top);
    for (uint32_t frame : {kFirst, kSecond, kSecond, kFirst}) {
      a.mov(dword_ptr(uint64_t{entry}), frame | kAll);
      a.invlpg(ptr(uint64_t{kFunction}));
      a.call(uint64_t{kFunction});
      a.lea(edx, ptr(edx, edx, 0));
      a.add(edx, eax);
    }
    a.and_(edx, 0xFFF);
    a.dec(ecx);
    a.jnz(top);
    a.hlt();
  });
  uint32_t expected = 0;
  for (unsigned i = 0; i < 100; ++i) {
    for (uint32_t value : {1u, 2u, 2u, 1u}) expected = 2 * expected + value;
    expected &= 0xFFF;
  }
  CHECK(out.gpr[kEdx] == expected);
  machine.CheckInvariants();
}

TEST_CASE("a page that another frame is under in another address space") {
  TestMachine machine;
  const Outcome out = RunKernel(machine, [&](Assembler& a) {
    Label top = a.newLabel();
    a.xor_(edx, edx);
    a.mov(ecx, 300);
    a.bind(top);
    a.call(uint64_t{kFunction});
    a.add(edx, eax);
    a.mov(ebx, kOtherDirectory);
    a.mov(cr3, ebx);
    a.call(uint64_t{kFunction});
    a.lea(eax, ptr(eax, eax, 3));
    a.add(edx, eax);
    a.mov(ebx, guest::kPageDirectory);
    a.mov(cr3, ebx);
    a.dec(ecx);
    a.jnz(top);
    a.hlt();
  });
  CHECK(out.gpr[kEdx] == 300u * (1 + 18));
  machine.CheckInvariants();
}

TEST_CASE("CPL 3 programs at one address in two address spaces") {
  TestMachine machine;
  // int 0x40 enters the kernel, which switches the address space and returns.
  const Bytes kernel = Assemble(guest::kLowCode, [](Assembler& a) {
    a.push(eax);
    a.mov(eax, cr3);
    a.xor_(eax, guest::kPageDirectory ^ kOtherDirectory);
    a.mov(cr3, eax);
    a.pop(eax);
    a.iretd();
  });
  machine.Reset(3);
  Prepare(machine);
  machine.Write(guest::kLowCode, kernel);
  machine.SetGate(0x40, guest::kLowCode, 3);
  machine.LoadCode(Assemble(guest::kCode,
                            [](Assembler& a) {
                              Label top = a.newLabel();
                              a.xor_(edx, edx);
                              a.mov(ecx, 500);
                              a.bind(top);
                              a.call(uint64_t{kFunction});
                              a.shl(edx, 1);
                              a.xor_(edx, eax);
                              a.int_(0x40);
                              a.dec(ecx);
                              a.jnz(top);
                              a.int3();
                            }),
                   0);
  // The code region was mapped after the directory was copied.
  machine.Set<uint32_t>(kOtherDirectory + (guest::kCode >> 22) * 4,
                        machine.Get<uint32_t>(guest::kPageDirectory + (guest::kCode >> 22) * 4));
  const Outcome out = machine.Run();
  uint32_t expected = 0;
  for (unsigned i = 0; i < 500; ++i) expected = expected << 1 ^ (i % 2 ? 2 : 1);
  CHECK(out.vector == 3u);
  CHECK(out.gpr[kEdx] == expected);
  machine.CheckInvariants();
}

TEST_CASE("direct jumps between kernel pages follow a remapping of their target") {
  TestMachine machine;
  const uint32_t entry = machine.EntryAddress(kFunction);
  // A loop across pages: linked jumps go there and come back, until the target page is another one.
  const Outcome out = RunKernel(machine, [&](Assembler& a) {
    Label top = a.newLabel();
    a.xor_(edx, edx);
    a.mov(ecx, 1000);
    a.bind(top);
    a.call(uint64_t{kFunction});
    a.add(edx, eax);
    a.cmp(ecx, 500);
    Label same = a.newLabel();
    a.jne(same);
    a.mov(dword_ptr(uint64_t{entry}), kSecond | kAll);
    a.mov(ebx, cr3);
    a.mov(cr3, ebx);
    a.bind(same);
    a.dec(ecx);
    a.jnz(top);
    a.hlt();
  });
  CHECK(out.gpr[kEdx] == 501u * 1 + 499u * 2);
  machine.CheckInvariants();
}

TEST_CASE("code that is unmapped faults, and runs again once it is mapped") {
  TestMachine machine;
  for (unsigned cpl : {3u, 0u}) {
    const Program program = MakeProgram({0x40, 0xE8, 0xFA, 0xF7, 0xFF, 0x3F}, 1, cpl);  // inc eax; call kFunction
    REQUIRE(program.Start() + 6 + 0x3FFF'F7FA == kFunction);
    Prepare(machine);
    CHECK(RunOn(machine, program).vector == 3u);
    machine.Unmap(kFunction);
    Outcome out = RunOn(machine, program);
    CHECK(out.vector == 14u);
    CHECK(out.cr2 == kFunction);
    CHECK(out.eip == kFunction);
    CHECK(out.error_code == (cpl == 3 ? pferr::kUser : 0));
    CHECK(out.gpr[kEsp] == program.gpr[kEsp] - 4);
    machine.Map(kFunction, kSecond, kAll);
    out = RunOn(machine, program);
    CHECK(out.gpr[kEax] == 2);
  }
}
