// VME and PVI: which flag CLI, STI, PUSHF, POPF, IRET and INT n work on, and when they fault (SDM 3B 20.3, 20.4).
#include "tests/cpu/guest.h"

namespace ring3::test {
namespace {

constexpr uint32_t kVirtualFlags = eflags::kVif | eflags::kVip;
constexpr uint16_t kIoMap = 0x88;  // the redirection bitmap lies at 68h

/// Puts it into V86 mode, or protected mode at CPL 3, with this IOPL, the extensions on or off, and these of VIF and
/// VIP set.
void Virtualize(Guest& guest, bool v86, unsigned iopl, bool extensions, uint32_t flags) {
  guest.state.eflags = eflags::kReserved1;
  if (v86) {
    guest.EnterV86(iopl);
  } else {
    guest.EnterUser();
    guest.state.eflags |= iopl << eflags::kIoplShift;
  }
  guest.state.eflags |= flags;
  guest.state.cr4 = extensions ? (v86 ? cr4::kVme : cr4::kPvi) : 0;
}

struct Case {
  bool v86, extensions;
  unsigned iopl;
  uint32_t flags;
};

template <class Check>
void ForAll(Check check) {
  for (const bool v86 : {false, true}) {
    for (const bool extensions : {false, true}) {
      for (unsigned iopl = 0; iopl < 4; ++iopl) {
        for (const uint32_t flags : {0u, eflags::kVif, eflags::kVip, kVirtualFlags}) {
          INFO("V86 " << v86 << ", extensions " << extensions << ", IOPL " << iopl << ", flags " << flags);
          check(Case{v86, extensions, iopl, flags});
        }
      }
    }
  }
}

}  // namespace

TEST_CASE("CLI and STI work on IF with IOPL 3, on VIF with the extensions, and fault otherwise") {
  ForAll([](const Case& c) {
    for (const bool enable : {false, true}) {
      Guest guest;
      Virtualize(guest, c.v86, c.iopl, c.extensions, c.flags);
      CpuState expected = guest.state;
      const bool faults = c.iopl < 3 && (!c.extensions || (enable && (c.flags & eflags::kVip)));
      if (faults) {
        CHECK_FAULT(guest, Gp(), SetInterruptFlag(guest.cpu, enable));
        continue;
      }
      const uint32_t flag = c.iopl == 3 ? eflags::kIf : eflags::kVif;
      expected.eflags = enable ? expected.eflags | flag : expected.eflags & ~flag;
      expected.interrupt_shadow = enable && c.iopl == 3;
      SetInterruptFlag(guest.cpu, enable);
      CHECK(Diff(guest.state, expected) == "");
    }
  });
}

TEST_CASE("PVI is for CPL 3, VME for V86 mode") {
  for (unsigned cpl = 1; cpl < 4; ++cpl) {
    Guest guest;
    guest.state.cpl = static_cast<uint8_t>(cpl);
    guest.state.eflags = eflags::kReserved1;
    guest.state.cr4 = cr4::kVme | (cpl < 3 ? cr4::kPvi : 0);
    CHECK_FAULT(guest, Gp(), SetInterruptFlag(guest.cpu, true));
  }
  Guest v86;
  Virtualize(v86, true, 0, false, 0);
  v86.state.cr4 = cr4::kPvi;
  CHECK_FAULT(v86, Gp(), SetInterruptFlag(v86.cpu, true));
}

TEST_CASE("PUSHF shows VIF as IF and IOPL as 3 in V86 mode with VME") {
  ForAll([](const Case& c) {
    for (const OperandSize size : {OperandSize::k16, OperandSize::k32}) {
      Guest guest;
      Virtualize(guest, c.v86, c.iopl, c.extensions, c.flags | eflags::kZf);
      const bool sensitive = c.v86 && c.iopl < 3;
      if (sensitive && !(c.extensions && size == OperandSize::k16)) {
        CHECK(FaultOf([&] { PushFlagsValue(guest.cpu, size); }) == Gp());
        continue;
      }
      uint32_t expected = eflags::kReserved1 | eflags::kZf | (sensitive ? 3u : c.iopl) << eflags::kIoplShift;
      if (sensitive && (c.flags & eflags::kVif)) expected |= eflags::kIf;
      CHECK((PushFlagsValue(guest.cpu, size) & 0xFFFF) == expected);
      if (size == OperandSize::k32) CHECK(PushFlagsValue(guest.cpu, size) >> 16 == c.flags >> 16);
    }
  });
}

TEST_CASE("POPF and IRET load VIF in V86 mode with VME, but not IF while VIP is set, nor TF") {
  constexpr uint32_t kPrevious = eflags::kDf | eflags::kOf;
  for (const uint32_t flags : {0u, eflags::kVif, eflags::kVip, kVirtualFlags}) {
    for (const uint32_t image : {0u, eflags::kIf, eflags::kTf, 0x4CD5u, 0x7ED5u}) {
      for (unsigned iopl = 0; iopl < 3; ++iopl) {
        INFO("flags " << flags << ", image " << image);
        Guest guest;
        Virtualize(guest, true, iopl, true, flags | kPrevious);
        const bool faults = (image & eflags::kTf) || ((image & eflags::kIf) && (flags & eflags::kVip));
        uint32_t expected = eflags::kReserved1 | eflags::kVm | iopl << eflags::kIoplShift | (flags & eflags::kVip);
        expected |= image & 0x4CD5;  // CF PF AF ZF SF DF OF NT
        if (image & eflags::kIf) expected |= eflags::kVif;
        for (uint32_t i = 0; const uint32_t word : {0x44u, 0x650u, image}) {
          guest.Poke<uint16_t>(0x9100 + 2 * i++, static_cast<uint16_t>(word));
        }
        CHECK(FaultOf([&] { PopFlagsValue(guest.cpu, image, OperandSize::k32); }) == Gp());
        CHECK_FAULT(guest, Gp(), InterruptReturn(guest.cpu, OperandSize::k32));
        if (faults) {
          CHECK(FaultOf([&] { PopFlagsValue(guest.cpu, image, OperandSize::k16); }) == Gp());
          CHECK_FAULT(guest, Gp(), InterruptReturn(guest.cpu, OperandSize::k16));
          continue;
        }
        CHECK(PopFlagsValue(guest.cpu, image, OperandSize::k16) == expected);
        InterruptReturn(guest.cpu, OperandSize::k16);
        CHECK(guest.state.eflags == expected);
        CHECK(guest.state.eip == 0x44);
      }
    }
  }
}

TEST_CASE("INT n in V86 mode: the six methods") {
  constexpr uint8_t kVector = 0x61;
  ForAll([](const Case& c) {
    if (!c.v86) return;
    for (const bool bit : {false, true}) {
      INFO("redirection bit " << bit);
      Guest guest;
      Virtualize(guest, true, c.iopl, c.extensions, c.flags | eflags::kIf | eflags::kTf | eflags::kNt);
      guest.Poke<uint16_t>(kTssA + 0x66, kIoMap);
      guest.Poke<uint8_t>(kTssA + kIoMap - 32 + kVector / 8, bit ? 1u << kVector % 8 : 0xFF & ~(1u << kVector % 8));
      guest.state.tr.limit = 0x200;
      guest.Poke<uint32_t>(kVector * 4, 0x0650'0123);
      guest.SetIdt(kVector, MakeGate(kKernelCode, kHandler, 14, 3));
      const auto raise = [&] { RaiseSoftwareInterrupt(guest.cpu, kVector, SoftwareInterrupt::kIntN, 0x12); };
      const CpuState start = guest.state;
      if (c.extensions && !bit) {
        CpuState expected = start;
        expected.Segment(Seg::kCs).selector = 0x650;
        expected.Segment(Seg::kCs).base = 0x6500;
        expected.eip = 0x123;
        expected.gpr[kEsp] = 0xFA;
        expected.eflags &= ~(eflags::kTf | (c.iopl == 3 ? eflags::kIf : eflags::kVif));
        uint32_t image = start.eflags & 0xFFFF;
        if (c.iopl < 3) image = (image & ~eflags::kIf) | eflags::kIopl | (c.flags & eflags::kVif ? eflags::kIf : 0);
        raise();
        CHECK(Diff(guest.state, expected) == "");
        CHECK(guest.Words(0x90FA, 3) == std::vector<uint32_t>{0x12, 0x700, image});
      } else if (c.iopl < 3) {
        CHECK_FAULT(guest, Gp(), raise());
      } else {
        raise();
        CHECK(guest.state.cpl == 0);
        CHECK(guest.Dwords(guest.state.gpr[kEsp], 3) == std::vector<uint32_t>{0x12, 0x700, start.eflags});
      }
    }
  });
}

TEST_CASE("INT3 is never redirected; a redirection bitmap beyond the TSS is #GP") {
  Guest guest;
  Virtualize(guest, true, 0, true, 0);
  guest.Poke<uint16_t>(kTssA + 0x66, kIoMap);
  guest.SetIdt(3, MakeGate(kKernelCode, kHandler, 14, 3));
  CHECK_FAULT(guest, Gp(), RaiseSoftwareInterrupt(guest.cpu, 0x61, SoftwareInterrupt::kIntN, 0x12));
  guest.state.tr.limit = 0x200;
  RaiseSoftwareInterrupt(guest.cpu, 3, SoftwareInterrupt::kInt3, 0x11);
  CHECK(guest.state.cpl == 0);
}

}  // namespace ring3::test
