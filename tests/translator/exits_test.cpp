// Exits that accesses cause: MMIO, page crossings, the end of the address space, guest page faults.
#include <catch2/catch.hpp>
#include <vector>

#include "tests/translator/program.h"

using namespace ring3;
using namespace asmjit;
using namespace asmjit::x86;

namespace {

constexpr uint32_t kMmio = 0x6000'0000, kMmioPhysical = 0xE010'0000;
constexpr uint32_t kAll = guest::kPresent | guest::kWritable | guest::kUser;

/// Remembers what was written and answers reads with it; logs each access.
class Register : public MmioDevice {
 public:
  uint64_t ReadMmio(GuestPhysical address, unsigned size) override {
    log.push_back({false, static_cast<uint32_t>(address.value - kMmioPhysical), size});
    return value & (size == 8 ? ~0ull : (1ull << 8 * size) - 1);
  }
  void WriteMmio(GuestPhysical address, unsigned size, uint64_t written) override {
    log.push_back({true, static_cast<uint32_t>(address.value - kMmioPhysical), size});
    value = written;
  }

  struct Access {
    bool write;
    uint32_t offset;
    unsigned size;
    bool operator==(const Access&) const = default;
  };
  std::vector<Access> log;
  uint64_t value = 0;
};

struct MmioGuest {
  explicit MmioGuest(unsigned level) : cpl(level) {
    machine.Physical().AttachMmio(GuestPhysical(kMmioPhysical), kPageSize, device);
  }

  Outcome Run(const std::function<void(Assembler&)>& write) {
    machine.Map(kMmio, kMmioPhysical, kAll);
    device.log.clear();
    Program program = MakeProgram(Assemble(guest::kCode + Program().offset, write), 1, cpl);
    program.gpr[kEsi] = kMmio;
    return RunOn(machine, program);
  }

  unsigned cpl;
  Register device;
  TestMachine machine;
};

}  // namespace

TEST_CASE("each MMIO access happens once and with its own width") {
  for (unsigned cpl : {3u, 0u}) {
    MmioGuest guest(cpl);
    const Outcome out = guest.Run([](Assembler& a) {
      a.mov(eax, 0x11223344);
      a.mov(ptr(esi, 8), eax);
      a.movzx(ecx, byte_ptr(esi, 1));
      a.mov(word_ptr(esi, 2), 0x5566);
      a.mov(edx, ptr(esi));
      a.push(dword_ptr(esi, 4));
      a.add(dword_ptr(esi, 12), 1);
    });
    CHECK(out.vector == 3u);
    CHECK(out.gpr[kEcx] == 0x44);
    CHECK(out.gpr[kEdx] == 0x5566);
    CHECK(guest.device.value == 0x5567);
    CHECK(guest.device.log ==
          std::vector<Register::Access>{
              {true, 8, 4}, {false, 1, 1}, {true, 2, 2}, {false, 0, 4}, {false, 4, 4}, {false, 12, 4}, {true, 12, 4}});
  }
}

TEST_CASE("an MMIO site in a loop stays right when it is no longer tried directly") {
  MmioGuest guest(0);
  const Outcome out = guest.Run([](Assembler& a) {
    Label top = a.newLabel();
    a.mov(ecx, 1000);
    a.xor_(edx, edx);
    a.bind(top);
    a.mov(ptr(esi), ecx);
    a.add(edx, ptr(esi));
    a.loop(top);
    a.mov(edi, esi);
    a.mov(esi, ebx);
    a.mov(ecx, 8);
    a.cld();
    a.rep().movsd();
  });
  CHECK(out.gpr[kEdx] == 1000u * 1001 / 2);
  CHECK(guest.device.log.size() == 2008);
  CHECK(out.gpr[kEcx] == 0);
  CHECK(out.gpr[kEdi] == kMmio + 32);
}

TEST_CASE("the same site reaches RAM and MMIO in turn") {
  MmioGuest guest(3);
  const Outcome out = guest.Run([](Assembler& a) {
    Label top = a.newLabel();
    a.mov(ecx, 50);
    a.bind(top);
    a.mov(ptr(esi), ecx);
    a.mov(edx, ptr(esi));
    a.xchg(esi, ebx);
    a.loop(top);
  });
  CHECK(out.vector == 3u);
  CHECK(out.gpr[kEdx] == 1);
  CHECK(guest.device.log.size() == 50);
  CHECK(guest.device.value == 2);
}

TEST_CASE("accesses across two pages that are not neighbours in RAM") {
  for (unsigned cpl : {3u, 0u}) {
    TestMachine machine;
    machine.Map(kMmio, 0x20'0000, kAll);
    machine.Map(kMmio + kPageSize, 0x30'0000, kAll);
    Program program = MakeProgram(Assemble(guest::kCode + Program().offset,
                                           [](Assembler& a) {
                                             a.mov(ptr(esi, -1), eax);
                                             a.mov(edx, ptr(esi, -2));
                                             a.mov(ecx, ptr(esi, -1));
                                             a.fild(qword_ptr(esi, -3));
                                             a.fistp(qword_ptr(esi, -4));
                                           }),
                                  1, cpl);
    program.gpr[kEsi] = kMmio + kPageSize;
    program.gpr[kEax] = 0x8899AABB;
    program.fxsave[4] = 0;
    const Outcome out = RunOn(machine, program);
    CHECK(out.vector == 3u);
    CHECK(out.gpr[kEcx] == 0x8899AABB);
    CHECK(out.gpr[kEdx] == 0x99AABB00);
    CHECK(machine.Get<uint16_t>(0x30'0000) == 0x8899);  // the copy was a byte further down
    // Nothing where the second page would lie if they were neighbours.
    CHECK(machine.Get<uint8_t>(0x20'1000) == 0);
  }
}

TEST_CASE("accesses that wrap at 4 GiB") {
  for (unsigned cpl : {3u, 0u}) {
    for (unsigned form = 0; form < 5; ++form) {
      TestMachine machine, interpreted({.interpreter = true});
      Outcome outcomes[2];
      unsigned i = 0;
      for (TestMachine* m : {&machine, &interpreted}) {
        Program program = MakeProgram(Assemble(guest::kCode + Program().offset,
                                               [form](Assembler& a) {
                                                 switch (form) {
                                                   case 0:
                                                     a.mov(dword_ptr(edi), eax);
                                                     a.mov(edx, ptr(edi, -1));
                                                     break;
                                                   case 1:
                                                     a.mov(dword_ptr(uint64_t{0xFFFF'FFFE}), eax);
                                                     break;
                                                   case 2:
                                                     a.mov(esp, edi);
                                                     a.mov(ptr(esp), eax);
                                                     a.mov(edx, ptr(esp));
                                                     break;
                                                   case 3:
                                                     a.mov(esp, 2);
                                                     a.push(eax);
                                                     a.pop(edx);
                                                     break;
                                                   case 4:
                                                     a.mov(ebp, 8);
                                                     a.mov(ptr(ebp, -10), eax);
                                                     a.lea(edi, ptr(ebp, -10));
                                                     break;
                                                 }
                                               }),
                                      1, cpl);
        program.gpr[kEdi] = 0xFFFF'FFFE;
        program.gpr[kEax] = 0x8899AABB;
        m->Map(0xFFFF'F000, 0x20'0000, kAll);
        m->Map(0, 0x30'0000, kAll);
        outcomes[i] = RunOn(*m, program);
        CHECK(m->Get<uint16_t>(0x20'0FFE) == 0xAABB);
        CHECK(m->Get<uint16_t>(0x30'0000) == 0x8899);
        ++i;
      }
      INFO("form " << form << "\n" << Difference(outcomes[0], outcomes[1], {}));
      CHECK(Difference(outcomes[0], outcomes[1], {}).empty());
    }
  }
}

TEST_CASE("a guest page fault is restartable: the handler maps the page and the program goes on") {
  // The handler maps the missing page and returns. Every kind of instruction has one such fault in its middle.
  TestMachine machine;
  const uint32_t entry = machine.EntryAddress(kMmio);
  const Bytes handler = Assemble(guest::kLowCode, [entry](Assembler& a) {
    a.add(esp, 4);
    a.mov(dword_ptr(uint64_t{entry}), 0x20'0000 | kAll);
    a.inc(dword_ptr(uint64_t{guest::kLowCode + 0x100}));
    a.iretd();
  });
  machine.Write(guest::kLowCode, handler);
  const std::vector<Bytes> codes = {
      {0x01, 0x06},       {0x8F, 0x06}, {0xFF, 0x36}, {0xF3, 0xA5},      {0xF0, 0x0F, 0xC1, 0x06},
      {0x0F, 0x11, 0x0E}, {0xDD, 0x1E}, {0x87, 0x26}, {0x0F, 0xC7, 0x0E}};
  for (const Bytes& code : codes) {
    for (unsigned cpl : {3u, 0u}) {
      Program program = MakeProgram(code, 7, cpl);
      program.gpr[kEsi] = kMmio;
      program.gpr[kEcx] = 3;
      program.eflags &= ~eflags::kDf;
      machine.Map(kMmio, 0x20'0000, kAll);
      machine.Set<uint64_t>(0x20'0000, guest::kStack + 0x800);
      const Outcome expected = RunOn(machine, program);
      machine.Set<uint64_t>(0x20'0000, guest::kStack + 0x800);
      machine.Unmap(kMmio);
      Load(machine, program);
      machine.SetGate(14, guest::kLowCode, 0);
      machine.Set<uint32_t>(guest::kLowCode + 0x100, 0);
      Outcome out = machine.Run();
      if (cpl == 0) {
        out.stack = expected.stack;  // the handler's frame lies below ESP
      }
      INFO(Describe(program) << Difference(out, expected, {}));
      CHECK(machine.Get<uint32_t>(guest::kLowCode + 0x100) == 1);
      CHECK(Difference(out, expected, {}).empty());
    }
  }
}
