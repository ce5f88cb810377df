#include "monitor/cpu/privileged.h"

#include "tests/cpu/guest.h"

namespace ring3::test {

TEST_CASE("reset state") {
  Guest guest;
  guest.state.gpr[kEax] = 5;
  guest.state.Reset();
  const CpuState& s = guest.state;
  CHECK(s.eip == 0xFFF0);
  CHECK(s.Segment(Seg::kCs).selector == 0xF000);
  CHECK(s.Segment(Seg::kCs).base == 0xFFFF'0000);
  CHECK(s.cr0 == 0x6000'0010);
  CHECK(s.eflags == 2);
  CHECK(s.gpr[kEax] == 0);
  CHECK(s.dr[6] == 0xFFFF'0FF0);
  CHECK(s.dr[7] == 0x400);
  CHECK(s.pat == 0x0007'0406'0007'0406);
  CHECK(s.idtr == TableRegister{0, 0xFFFF});
}

TEST_CASE("control registers that do not exist, and CPL") {
  Guest guest;
  for (unsigned n : {1u, 5u, 6u, 7u}) {
    CHECK_FAULT(guest, Fault(Vector::kInvalidOpcode), ReadControl(guest.cpu, n));
    CHECK_FAULT(guest, Fault(Vector::kInvalidOpcode), WriteControl(guest.cpu, n, 0));
  }
  guest.EnterUser();
  for (unsigned n : {0u, 2u, 3u, 4u}) {
    CHECK_FAULT(guest, Gp(), ReadControl(guest.cpu, n));
    CHECK_FAULT(guest, Gp(), WriteControl(guest.cpu, n, 0));
  }
  CHECK_FAULT(guest, Gp(), ClearTaskSwitched(guest.cpu));
  CHECK_FAULT(guest, Gp(), LoadMachineStatusWord(guest.cpu, 0));
}

TEST_CASE("CR0: bad combinations, reserved and fixed bits") {
  Guest guest;
  CHECK_FAULT(guest, Gp(), WriteControl(guest.cpu, 0, cr0::kPg));
  CHECK_FAULT(guest, Gp(), WriteControl(guest.cpu, 0, cr0::kPe | cr0::kNw));
  CpuState expected = guest.state;
  expected.cr0 = cr0::kPe | cr0::kEt | cr0::kTs | cr0::kCd | cr0::kNw;
  WriteControl(guest.cpu, 0, cr0::kPe | cr0::kTs | cr0::kCd | cr0::kNw | 1u << 10);
  CHECK(Diff(guest.state, expected) == "");
  CHECK(ReadControl(guest.cpu, 0) == expected.cr0);
  expected.cr0 &= ~cr0::kTs;
  ClearTaskSwitched(guest.cpu);
  CHECK(Diff(guest.state, expected) == "");
}

TEST_CASE("CR4.OSXSAVE exists where XSAVE does, and CPUID shows it") {
  Guest atom;
  CHECK_FAULT(atom, Gp(), WriteControl(atom.cpu, 4, cr4::kOsxsave));
  Guest max("max");
  if (!max.cpu.model.Xcr0Supported()) return;
  CHECK(max.state.xcr0 == 1);
  WriteControl(max.cpu, 4, cr4::kOsxsave);
  CHECK(ReadControl(max.cpu, 4) == cr4::kOsxsave);
  CHECK_FALSE(max.state.AvxEnabled());
}

TEST_CASE("LMSW sets but never clears PE") {
  Guest guest;
  CpuState expected = guest.state;
  expected.cr0 = cr0::kPe | cr0::kEt | cr0::kNe | cr0::kEm;
  LoadMachineStatusWord(guest.cpu, 0xFFF0 | cr0::kEm);
  CHECK(Diff(guest.state, expected) == "");
  guest.state.cr0 &= ~cr0::kPe;
  LoadMachineStatusWord(guest.cpu, cr0::kPe);
  CHECK(guest.state.cr0 == (cr0::kPe | cr0::kEt | cr0::kNe));
}

TEST_CASE("paging comes and goes with CR0.PG, and CR3 is adopted") {
  Guest guest;
  guest.EnablePaging({0x50000});
  guest.Poke<uint32_t>(0x51000, 0x1234);
  CHECK(guest.cpu.memory.Read<uint32_t>(GuestLinear(0x51000), guest.cpu.Read()) == 0x1234);
  CHECK(FaultOf([&] { guest.cpu.memory.Read<uint8_t>(GuestLinear(0x50000), guest.cpu.Read()); }) ==
        Fault(Vector::kPageFault, 0));
  guest.Poke<uint32_t>(kPageTable + 0x50 * 4, 0x51000 | 3);
  WriteControl(guest.cpu, 3, kPageDirectory);
  CHECK(guest.cpu.memory.Read<uint32_t>(GuestLinear(0x50000), guest.cpu.Read()) == 0x1234);
  WriteControl(guest.cpu, 0, guest.state.cr0 & ~cr0::kPg);
  CHECK(guest.cpu.memory.Read<uint32_t>(GuestLinear(0x50000), guest.cpu.Read()) == 0);
}

TEST_CASE("PAE: PDPTEs load with CR3, CR0 and CR4, reserved bits are refused") {
  Guest guest;
  constexpr uint32_t kPdpt = 0x12020, kBadPdpt = 0x12040;
  const std::array<uint64_t, 4> good{0x10001, 0, 0x1E6 /* not present */, 0x11001};
  for (unsigned i = 0; i < 4; ++i) guest.Poke<uint64_t>(kPdpt + i * 8, good[i]);
  for (uint64_t bad : {uint64_t{0x3}, uint64_t{0x21}, uint64_t{0x101}, uint64_t{1} << 36 | 1, uint64_t{1} << 63 | 1}) {
    guest.state.cr4 = cr4::kPae;
    guest.state.cr3 = kPdpt;
    guest.state.cr0 = cr0::kPe | cr0::kEt;
    guest.Poke<uint64_t>(kBadPdpt + 24, bad);
    WriteControl(guest.cpu, 3, kBadPdpt);  // without paging nothing is loaded
    CHECK_FAULT(guest, Gp(), WriteControl(guest.cpu, 0, cr0::kPe | cr0::kPg));
    WriteControl(guest.cpu, 3, kPdpt);
    WriteControl(guest.cpu, 0, cr0::kPe | cr0::kPg);
    CHECK(guest.state.pdpte == good);
    CHECK_FAULT(guest, Gp(), WriteControl(guest.cpu, 3, kBadPdpt));
  }
  WriteControl(guest.cpu, 0, cr0::kPe);
}

TEST_CASE("CR4: bits that the model lacks are reserved") {
  struct Row {
    const char* model;
    uint32_t allowed;
  };
  constexpr uint32_t kPentium = cr4::kVme | cr4::kPvi | cr4::kTsd | cr4::kDe | cr4::kPse | cr4::kMce;
  constexpr uint32_t kPentium3 = kPentium | cr4::kPae | cr4::kPge | cr4::kPce | cr4::kOsfxsr | cr4::kOsxmmexcpt;
  for (const Row& row : {Row{"486", 0}, Row{"pentium", kPentium}, Row{"pentium3", kPentium3}, Row{"n270", kPentium3}}) {
    for (unsigned bit = 0; bit < 32; ++bit) {
      INFO(row.model << " bit " << bit);
      Guest guest(row.model);
      if (row.allowed >> bit & 1) {
        WriteControl(guest.cpu, 4, 1u << bit);
        CHECK(ReadControl(guest.cpu, 4) == 1u << bit);
      } else {
        CHECK_FAULT(guest, Gp(), WriteControl(guest.cpu, 4, 1u << bit));
      }
    }
  }
}

TEST_CASE("debug registers: fixed bits, aliases, general detect") {
  Guest guest;
  WriteDebug(guest.cpu, 6, 0);
  CHECK(ReadDebug(guest.cpu, 6) == 0xFFFF'0FF0);
  WriteDebug(guest.cpu, 6, 0xFFFF'FFFF);
  CHECK(ReadDebug(guest.cpu, 4) == 0xFFFF'EFFF);
  WriteDebug(guest.cpu, 5, 0xFFFF'DFFF);  // GD stays clear
  CHECK(ReadDebug(guest.cpu, 7) == 0xFFFF'07FF);
  WriteDebug(guest.cpu, 3, 0xDEAD);
  CHECK(guest.state.dr[3] == 0xDEAD);
  guest.state.cr4 = cr4::kDe;
  CHECK_FAULT(guest, Fault(Vector::kInvalidOpcode), ReadDebug(guest.cpu, 4));
  CHECK_FAULT(guest, Fault(Vector::kInvalidOpcode), WriteDebug(guest.cpu, 5, 0));
  guest.state.dr[7] |= dr7::kGd;
  CHECK_FAULT(guest, Fault(Vector::kDebug), ReadDebug(guest.cpu, 0));
  try {
    WriteDebug(guest.cpu, 0, 0);
  } catch (const GuestFault& fault) {
    guest.state.dr[6] = 0xFFFF'0FF0;
    guest.SetIdt(1, MakeGate(kKernelCode, kHandler, 14, 0));
    DeliverFault(guest.cpu, fault);
    CHECK(guest.state.dr[6] == (0xFFFF'0FF0 | dr6::kBd));
    CHECK_FALSE(guest.state.dr[7] & dr7::kGd);
  }
  guest.EnterUser();
  CHECK_FAULT(guest, Gp(), ReadDebug(guest.cpu, 0));
}

TEST_CASE("MSRs") {
  Guest guest;
  for (uint32_t index : {0x174u, 0x175u, 0x176u}) {
    WriteMsr(guest.cpu, index, 0x1000 + index);
    CHECK(ReadMsr(guest.cpu, index) == 0x1000 + index);
  }
  CHECK(ReadMsr(guest.cpu, 0x8B) >> 32 == 0x218);
  WriteMsr(guest.cpu, 0x8B, 0);
  CHECK((ReadMsr(guest.cpu, 0x1A0) & 1) == 1);
  CHECK_FAULT(guest, Gp(), WriteMsr(guest.cpu, 0x1A0, guest.state.misc_enable ^ (uint64_t{1} << 34)));
  WriteMsr(guest.cpu, 0x277, 0x0007'0106'0007'0106);
  CHECK(ReadMsr(guest.cpu, 0x277) == 0x0007'0106'0007'0106);
  CHECK_FAULT(guest, Gp(), WriteMsr(guest.cpu, 0x277, 0x0007'0206'0007'0106));
  WriteMsr(guest.cpu, 0xC000'0080, efer::kNxe);
  CHECK(guest.state.efer == efer::kNxe);
  CHECK_FAULT(guest, Gp(), WriteMsr(guest.cpu, 0xC000'0080, efer::kNxe | 1u << 8));
  for (uint32_t index : {0x1Bu, 0x3Au, 0x48u, 0x17Bu, 0xFFu, 0x210u, 0x10Au, 0xC000'0103u, 0x4B56'4D00u}) {
    CHECK_FAULT(guest, Gp(), ReadMsr(guest.cpu, index));
    CHECK_FAULT(guest, Gp(), WriteMsr(guest.cpu, index, 0));
  }
  CHECK_FAULT(guest, Gp(), WriteMsr(guest.cpu, 0x17, 0));
  Guest pentium3("pentium3");
  CHECK_FAULT(pentium3, Gp(), ReadMsr(pentium3.cpu, 0xC000'0080));
  Guest old("486");
  CHECK_FAULT(old, Fault(Vector::kInvalidOpcode), ReadMsr(old.cpu, 0x10));
  guest.EnterUser();
  CHECK_FAULT(guest, Gp(), ReadMsr(guest.cpu, 0x10));
}

TEST_CASE("the time-stamp counter") {
  Guest guest;
  WriteMsr(guest.cpu, 0x10, 1000);
  const uint64_t first = ReadTimeStampCounter(guest.cpu), second = ReadTimeStampCounter(guest.cpu);
  CHECK(first >= 1000);
  CHECK(first < 1'000'000'000'000);
  CHECK(second >= first);
  guest.EnterUser();
  CHECK(ReadTimeStampCounter(guest.cpu) >= second);
  guest.state.cr4 = cr4::kTsd;
  CHECK_FAULT(guest, Gp(), ReadTimeStampCounter(guest.cpu));
  Guest old("486");
  CHECK_FAULT(old, Fault(Vector::kInvalidOpcode), ReadTimeStampCounter(old.cpu));
}

TEST_CASE("POPF at every CPL and IOPL") {
  const uint32_t free_flags = 0x0024'4DD5;  // AC ID NT DF OF TF SF ZF AF PF CF
  for (unsigned cpl = 0; cpl < 4; ++cpl) {
    for (unsigned iopl = 0; iopl < 4; ++iopl) {
      INFO("cpl " << cpl << " iopl " << iopl);
      Guest guest;
      guest.state.cpl = static_cast<uint8_t>(cpl);
      guest.state.eflags = eflags::kReserved1 | iopl << 12;
      const uint32_t iopl_after = cpl == 0 ? eflags::kIopl : iopl << 12;
      const uint32_t if_after = cpl <= iopl ? eflags::kIf : 0;
      const uint32_t all = free_flags | if_after | iopl_after | eflags::kReserved1;
      CHECK(PopFlagsValue(guest.cpu, 0xFFFF'FFFF, OperandSize::k32) == all);
      CHECK(PopFlagsValue(guest.cpu, 0xFFFF'FFFF, OperandSize::k16) == (all & 0xFFFF));
      guest.state.eflags |= free_flags | eflags::kIf | eflags::kRf | eflags::kVif | eflags::kVip;
      const uint32_t kept = (cpl == 0 ? 0 : iopl << 12) | (cpl <= iopl ? 0 : eflags::kIf) | eflags::kVif |
                            eflags::kVip | eflags::kReserved1;
      CHECK(PopFlagsValue(guest.cpu, 0, OperandSize::k32) == kept);
      CHECK(PopFlagsValue(guest.cpu, 0, OperandSize::k16) == (kept | eflags::kRf | eflags::kAc | eflags::kId));
    }
  }
}

TEST_CASE("PUSHF, POPF, STI and CLI in V86 mode and at every CPL and IOPL") {
  for (unsigned iopl = 0; iopl < 3; ++iopl) {
    Guest guest;
    guest.EnterV86(iopl);
    CHECK_FAULT(guest, Gp(), PopFlagsValue(guest.cpu, 0, OperandSize::k16));
    CHECK_FAULT(guest, Gp(), PushFlagsValue(guest.cpu, OperandSize::k16));
    CHECK_FAULT(guest, Gp(), SetInterruptFlag(guest.cpu, false));
  }
  Guest v86;
  v86.EnterV86(3);
  CHECK(PushFlagsValue(v86.cpu, OperandSize::k16) == (eflags::kReserved1 | eflags::kIf | eflags::kCf | eflags::kIopl));
  CHECK(PopFlagsValue(v86.cpu, 0, OperandSize::k32) == (eflags::kReserved1 | eflags::kIopl | eflags::kVm));
  for (unsigned cpl = 0; cpl < 4; ++cpl) {
    for (unsigned iopl = 0; iopl < 4; ++iopl) {
      Guest guest;
      guest.state.cpl = static_cast<uint8_t>(cpl);
      guest.state.eflags = eflags::kReserved1 | iopl << 12;
      if (cpl > iopl) {
        CHECK_FAULT(guest, Gp(), SetInterruptFlag(guest.cpu, true));
        CHECK_FAULT(guest, Gp(), SetInterruptFlag(guest.cpu, false));
        continue;
      }
      CpuState expected = guest.state;
      expected.eflags |= eflags::kIf;
      expected.interrupt_shadow = true;
      SetInterruptFlag(guest.cpu, true);
      CHECK(Diff(guest.state, expected) == "");
      expected.interrupt_shadow = guest.state.interrupt_shadow = false;
      SetInterruptFlag(guest.cpu, true);  // no shadow when IF was set already
      CHECK(Diff(guest.state, expected) == "");
    }
  }
}

TEST_CASE("the I/O permission bitmap") {
  Guest guest;
  guest.Poke<uint16_t>(kTssA + 0x66, 0x68);
  guest.Poke<uint32_t>(kTssA + 0x68, 0xFFFF'FFFF);
  guest.Poke<uint8_t>(kTssA + 0x68, 0x7F);  // port 7 only
  guest.Poke<uint8_t>(kTssA + 0x69, 0xFE);  // port 8 only
  guest.Poke<uint8_t>(kTssA + 0x6B, 0);     // ports 24-31, but the terminating byte is missing
  CheckPortAccess(guest.cpu, 0x60, 1);      // CPL 0
  guest.EnterUser();
  CheckPortAccess(guest.cpu, 7, 1);
  CheckPortAccess(guest.cpu, 7, 2);
  CHECK_FAULT(guest, Gp(), CheckPortAccess(guest.cpu, 7, 4));
  CHECK_FAULT(guest, Gp(), CheckPortAccess(guest.cpu, 6, 1));
  CHECK_FAULT(guest, Gp(), CheckPortAccess(guest.cpu, 24, 1));  // second byte lies beyond the limit of 6Bh
  CHECK_FAULT(guest, Gp(), CheckPortAccess(guest.cpu, 0x3F8, 1));
  guest.state.eflags |= eflags::kIopl;
  CheckPortAccess(guest.cpu, 0x3F8, 1);
  guest.EnterV86(3);  // IOPL does not count in V86 mode
  CHECK_FAULT(guest, Gp(), CheckPortAccess(guest.cpu, 0x3F8, 1));
  CheckPortAccess(guest.cpu, 7, 1);
}

}  // namespace ring3::test
