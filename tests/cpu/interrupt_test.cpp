#include "tests/cpu/guest.h"

namespace ring3::test {
namespace {

using Values = std::vector<uint32_t>;
constexpr unsigned kInterruptGate = 14, kTrapGate = 15, kInterruptGate16 = 6;
constexpr GuestFault kPlainGp{Vector::kGeneralProtection, 0x18};

/// State after entering kHandler in ring 0 through an interrupt gate.
CpuState InHandler(const Guest& guest, const CpuState& start, uint32_t esp) {
  CpuState expected = start;
  expected.Segment(Seg::kCs) = guest.Loaded(kKernelCode);
  expected.Segment(Seg::kSs) = guest.Loaded(kKernelData);
  expected.eip = kHandler;
  expected.eflags &= ~(eflags::kIf | eflags::kTf | eflags::kNt | eflags::kRf | eflags::kVm);
  expected.cpl = 0;
  expected.gpr[kEsp] = esp;
  expected.halted = expected.interrupt_shadow = false;
  return expected;
}

}  // namespace

TEST_CASE("every exception vector: frame, error code, EIP and RF") {
  for (unsigned vector : {0u, 1u, 2u, 3u, 4u, 5u, 6u, 7u, 8u, 10u, 11u, 12u, 13u, 14u, 16u, 17u, 19u}) {
    INFO("vector " << vector);
    const bool has_code = vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
    const bool is_fault = vector != 1 && vector != 2 && vector != 3 && vector != 4 && vector != 8;
    Guest guest;
    guest.EnterUser();
    guest.SetIdt(vector, MakeGate(kKernelCode, kHandler, kInterruptGate, 0));
    guest.state.eflags |= eflags::kTf | eflags::kNt;
    guest.state.halted = guest.state.interrupt_shadow = true;
    CpuState expected = InHandler(guest, guest.state, kKernelStack - (has_code ? 24 : 20));
    if (vector == 14) expected.cr2 = 0xABCD'E000;
    GuestFault fault{static_cast<Vector>(vector), std::nullopt, 0xABCD'E000};
    if (has_code) fault.error_code = 0x15A;
    const uint32_t saved = guest.state.eflags | (is_fault ? eflags::kRf : 0);
    DeliverFault(guest.cpu, fault);
    CHECK(Diff(guest.state, expected) == "");
    Values frame{kCode, kUserCode | 3, saved, kUserStack, kUserData | 3};
    if (has_code) frame.insert(frame.begin(), 0x15A);
    CHECK(guest.Dwords(guest.state.gpr[kEsp], static_cast<unsigned>(frame.size())) == frame);
  }
}

TEST_CASE("same level: no stack switch; a trap gate keeps IF") {
  Guest guest;
  guest.SetIdt(0x80, MakeGate(kKernelCode, kHandler, kTrapGate, 0));
  CpuState expected = InHandler(guest, guest.state, kKernelStack - 12);
  expected.eflags |= eflags::kIf;
  const uint32_t saved = guest.state.eflags;
  RaiseSoftwareInterrupt(guest.cpu, 0x80, SoftwareInterrupt::kIntN, kCode + 2);
  CHECK(Diff(guest.state, expected) == "");
  CHECK(guest.Dwords(kKernelStack - 12, 3) == Values{kCode + 2, kKernelCode, saved});
}

TEST_CASE("16-bit gate pushes words") {
  Guest guest;
  guest.EnterUser();
  guest.SetIdt(13, MakeGate(kKernelCode, 0x9999'0000 | kHandler, kInterruptGate16, 0));
  const CpuState expected = InHandler(guest, guest.state, kKernelStack - 12);
  const uint32_t flags = guest.state.eflags & 0xFFFF;
  DeliverFault(guest.cpu, kPlainGp);
  CHECK(Diff(guest.state, expected) == "");
  CHECK(guest.Words(kKernelStack - 12, 6) == Values{0x18, kCode, kUserCode | 3, flags, kUserStack, kUserData | 3});
}

TEST_CASE("a conforming handler runs at the interrupted level") {
  Guest guest;
  guest.EnterUser();
  guest.SetIdt(0x20, MakeGate(kConformingCode, kHandler, kInterruptGate, 0));
  CpuState expected = guest.state;
  expected.Segment(Seg::kCs) = guest.Loaded(kConformingCode | 3);
  expected.eip = kHandler;
  expected.eflags &= ~eflags::kIf;
  expected.gpr[kEsp] -= 12;
  DeliverExternalInterrupt(guest.cpu, 0x20);
  CHECK(Diff(guest.state, expected) == "");
}

TEST_CASE("inner stacks: ring 1, a 16-bit TSS, a 16-bit stack segment") {
  Guest ring1;
  ring1.EnterUser();
  ring1.SetIdt(0x20, MakeGate(kRing1Code, kHandler, kInterruptGate, 0));
  DeliverExternalInterrupt(ring1.cpu, 0x20);
  CHECK(ring1.state.cpl == 1);
  CHECK(ring1.state.Segment(Seg::kCs) == ring1.Loaded(kRing1Code | 1));
  CHECK(ring1.state.Segment(Seg::kSs) == ring1.Loaded(kRing1Data | 1));
  CHECK(ring1.state.gpr[kEsp] == kRing1Stack - 20);

  Guest old;
  old.EnterUser();
  old.state.tr = {kSelTss16, 0x83, kTss16, 0x2B};
  old.Poke<uint16_t>(kTss16 + 2, 0x4000);
  old.Poke<uint16_t>(kTss16 + 4, kStack16);
  old.SetIdt(0x20, MakeGate(kKernelCode, kHandler, kInterruptGate, 0));
  CpuState expected = InHandler(old, old.state, 0x4000 - 20);
  expected.Segment(Seg::kSs) = old.Loaded(kStack16);
  const uint32_t saved = old.state.eflags;
  DeliverExternalInterrupt(old.cpu, 0x20);
  CHECK(Diff(old.state, expected) == "");
  CHECK(old.Dwords(0x24000 - 20, 5) == Values{kCode, kUserCode | 3, saved, kUserStack, kUserData | 3});

  Guest wrap;  // the frame wraps inside a 16-bit stack
  wrap.state.Segment(Seg::kSs) = wrap.Loaded(kStack16);
  wrap.state.gpr[kEsp] = 0x7777'0004;
  wrap.SetIdt(0x20, MakeGate(kKernelCode, kHandler, kInterruptGate, 0));
  DeliverExternalInterrupt(wrap.cpu, 0x20);
  CHECK(wrap.state.gpr[kEsp] == 0x7777'FFF8);
  CHECK(wrap.Dwords(0x2FFF8, 2) == Values{kCode, kKernelCode});
}

TEST_CASE("software interrupts: DPL, error codes with the IDT bit") {
  Guest guest;
  guest.EnterUser();
  const auto raise = [&](SoftwareInterrupt kind) { RaiseSoftwareInterrupt(guest.cpu, 0x40, kind, kCode + 2); };
  constexpr uint32_t kIdtError = 0x40 * 8 + 2;
  guest.SetIdt(0x40, MakeGate(kKernelCode, kHandler, kInterruptGate, 0));
  for (auto kind : {SoftwareInterrupt::kIntN, SoftwareInterrupt::kInt3, SoftwareInterrupt::kInto}) {
    CHECK_FAULT(guest, Gp(kIdtError), raise(kind));
  }
  const auto check_gate = [&](uint64_t gate, const std::string& fault) {
    guest.SetIdt(0x40, gate);
    CHECK_FAULT(guest, fault, raise(SoftwareInterrupt::kIntN));
  };
  check_gate(MakeGate(kKernelCode, kHandler, 12, 3), Gp(kIdtError));
  check_gate(MakeGate(kKernelCode, kHandler, 14, 3) & ~(uint64_t{0x80} << 40),
             Fault(Vector::kSegmentNotPresent, kIdtError));
  check_gate(MakeGate(0, kHandler, 14, 3), Gp());
  check_gate(MakeGate(kBeyondGdt, kHandler, 14, 3), Gp(kBeyondGdt));
  check_gate(MakeGate(kKernelData, kHandler, 14, 3), Gp(kKernelData));
  check_gate(MakeGate(kAbsentCode, kHandler, 14, 3), Fault(Vector::kSegmentNotPresent, kAbsentCode));
  check_gate(MakeGate(kSmallCode, 0x1000, 14, 3), Gp());
  guest.SetIdt(0x40, MakeGate(kSmallCode, 0x1000, 14, 3));
  CHECK_FAULT(guest, Gp(1), raise(SoftwareInterrupt::kInt1));  // EXT: INT1 is a hardware exception
  guest.state.idtr.limit = 0x40 * 8 + 6;
  CHECK_FAULT(guest, Gp(kIdtError), raise(SoftwareInterrupt::kIntN));
  guest.state.idtr.limit = 0x7FF;

  guest.SetIdt(0x40, MakeGate(kKernelCode, kHandler, kInterruptGate, 3));
  guest.Poke<uint16_t>(kTssA + 8, kKernelData | 3);
  CHECK_FAULT(guest, Fault(Vector::kInvalidTss, kKernelData), raise(SoftwareInterrupt::kIntN));
  guest.Poke<uint16_t>(kTssA + 8, 0);
  CHECK_FAULT(guest, Fault(Vector::kInvalidTss, 0), raise(SoftwareInterrupt::kIntN));
  guest.Poke<uint16_t>(kTssA + 8, kSmallStack);
  guest.Poke<uint32_t>(kTssA + 4, 0x10);  // 16 bytes where 20 are pushed
  CHECK_FAULT(guest, Fault(Vector::kStackFault, kSmallStack), raise(SoftwareInterrupt::kIntN));
  guest.Poke<uint16_t>(kTssA + 8, kKernelData);
  guest.Poke<uint32_t>(kTssA + 4, kKernelStack);
  const CpuState expected = InHandler(guest, guest.state, kKernelStack - 20);
  raise(SoftwareInterrupt::kIntN);
  CHECK(Diff(guest.state, expected) == "");
}

TEST_CASE("faults met while delivering carry EXT") {
  Guest guest;
  guest.SetIdt(0x20, MakeGate(kBeyondGdt, kHandler, kInterruptGate, 0));
  guest.SetIdt(13, MakeGate(kKernelCode, kHandler, kInterruptGate, 0));
  const CpuState expected = InHandler(guest, guest.state, kKernelStack - 16);
  const uint32_t saved = guest.state.eflags | eflags::kRf;
  DeliverExternalInterrupt(guest.cpu, 0x20);
  CHECK(Diff(guest.state, expected) == "");
  CHECK(guest.Dwords(kKernelStack - 16, 4) == Values{kBeyondGdt | 1, kCode, kKernelCode, saved});
}

TEST_CASE("double and triple faults by table 6-5") {
  // #GP whose gate is bad makes #GP: double fault.
  Guest guest;
  guest.SetIdt(8, MakeGate(kKernelCode, kHandler, kInterruptGate, 0));
  CpuState expected = InHandler(guest, guest.state, kKernelStack - 16);
  const uint32_t saved = guest.state.eflags;
  DeliverFault(guest.cpu, kPlainGp);
  CHECK(Diff(guest.state, expected) == "");
  CHECK(guest.Dwords(kKernelStack - 16, 4) == Values{0, kCode, kKernelCode, saved});

  // Benign first: the second fault is delivered by itself.
  Guest benign;
  benign.SetIdt(13, MakeGate(kKernelCode, kHandler, kInterruptGate, 0));
  DeliverFault(benign.cpu, {Vector::kInvalidOpcode, std::nullopt});
  CHECK(benign.Peek<uint32_t>(benign.state.gpr[kEsp]) == (6 * 8 + 2 + 1));

  // No double-fault gate either: shutdown.
  Guest triple;
  const CpuState before = triple.state;
  CHECK(FaultOf([&] { DeliverFault(triple.cpu, kPlainGp); }) == "triple");
  CHECK(Diff(triple.state, before) == "");
}

TEST_CASE("every first and second fault: serial, double, shutdown") {
  // Which gate is bad decides the second fault; handlers of vector 8 and of the second fault run in ring 1.
  struct Second {
    Vector vector;
    uint32_t error_code;
    void (*spoil)(Guest&, unsigned first);
  };
  const auto gate = [](Guest& guest, unsigned vector, uint16_t selector) {
    guest.SetIdt(vector, MakeGate(selector, kHandler, kInterruptGate, 0));
  };
  const Second seconds[] = {
      {Vector::kGeneralProtection, kBeyondGdt | 1,
       [](Guest& g, unsigned v) { g.SetIdt(v, MakeGate(kBeyondGdt, kHandler, kInterruptGate, 0)); }},
      {Vector::kSegmentNotPresent, kAbsentCode | 1,
       [](Guest& g, unsigned v) { g.SetIdt(v, MakeGate(kAbsentCode, kHandler, kInterruptGate, 0)); }},
      {Vector::kInvalidTss, 1, [](Guest& g, unsigned) { g.Poke<uint16_t>(kTssA + 8, 0); }},
      {Vector::kStackFault, kAbsentData | 1, [](Guest& g, unsigned) { g.Poke<uint16_t>(kTssA + 8, kAbsentData); }},
      {Vector::kPageFault, 2, [](Guest& g, unsigned) { g.Poke<uint32_t>(kTssA + 4, 0x30800); }},
  };
  for (unsigned first : {0u, 1u, 3u, 4u, 5u, 6u, 7u, 8u, 10u, 11u, 12u, 13u, 14u, 16u, 17u, 19u}) {
    for (const Second& second : seconds) {
      const auto second_vector = static_cast<unsigned>(second.vector);
      if (first == second_vector) continue;  // one gate cannot be both good and bad; tested apart
      INFO("first " << first << " second " << second_vector);
      Guest guest;
      guest.EnablePaging({0x30000});
      guest.EnterUser();
      gate(guest, first, kKernelCode);
      gate(guest, second_vector, kRing1Code);
      if (first != 8) gate(guest, 8, kRing1Code);
      second.spoil(guest, first);
      const bool contributory = first == 0 || (first >= 10 && first <= 13);
      const bool second_pf = second.vector == Vector::kPageFault;
      const bool doubles = first == 14 || (contributory && !second_pf);
      const std::string outcome = FaultOf([&] { DeliverFault(guest.cpu, {static_cast<Vector>(first), std::nullopt}); });
      CHECK(outcome == (first == 8 ? "triple" : "none"));
      if (first == 8) continue;
      CHECK(guest.state.cpl == 1);
      CHECK(guest.Peek<uint32_t>(guest.state.gpr[kEsp]) == (doubles ? 0 : second.error_code));
    }
  }
}

TEST_CASE("page faults while delivering") {
  constexpr uint32_t kAbsentStack = 0x30000, kAbsentIdt = 0x31000;
  // #GP, then #PF on the gate's stack: serial, the page fault is delivered on another stack.
  Guest serial;
  serial.EnablePaging({kAbsentStack});
  serial.EnterUser();
  serial.Poke<uint32_t>(kTssA + 4, kAbsentStack + 0x800);
  serial.SetIdt(13, MakeGate(kKernelCode, kHandler, kInterruptGate, 0));
  serial.SetIdt(14, MakeGate(kRing1Code, kHandler, kInterruptGate, 0));
  DeliverFault(serial.cpu, kPlainGp);
  CHECK(serial.state.cr2 == kAbsentStack + 0x800 - 24);
  CHECK(serial.state.cpl == 1);
  CHECK(serial.Peek<uint32_t>(serial.state.gpr[kEsp]) == 2);  // a supervisor write, though CPL was 3
  // #PF, then #PF: double fault; CR2 names the second.
  Guest twice;
  twice.EnablePaging({kAbsentStack});
  twice.EnterUser();
  twice.Poke<uint32_t>(kTssA + 4, kAbsentStack + 0x800);
  twice.SetIdt(14, MakeGate(kKernelCode, kHandler, kInterruptGate, 0));
  twice.SetIdt(8, MakeGate(kRing1Code, kHandler, kInterruptGate, 0));
  DeliverFault(twice.cpu, {Vector::kPageFault, 4, 0x1234});
  CHECK(twice.state.cr2 == kAbsentStack + 0x800 - 24);
  CHECK(twice.state.cpl == 1);
  CHECK(twice.Dwords(twice.state.gpr[kEsp], 2) == Values{0, kCode});
  // The IDT itself is absent: shutdown.
  Guest none;
  none.EnablePaging({kAbsentIdt});
  none.state.idtr.base = kAbsentIdt;
  CHECK(FaultOf([&] { DeliverFault(none.cpu, kPlainGp); }) == "triple");
}

TEST_CASE("from V86 mode to ring 0") {
  Guest guest;
  guest.EnterV86(0);
  guest.SetIdt(13, MakeGate(kKernelCode, kHandler, kInterruptGate, 0));
  CpuState expected = InHandler(guest, guest.state, kKernelStack - 40);
  for (Seg s : {Seg::kEs, Seg::kDs, Seg::kFs, Seg::kGs}) expected.Segment(s) = {};
  const uint32_t saved = guest.state.eflags | eflags::kRf;
  DeliverFault(guest.cpu, kPlainGp);
  CHECK(Diff(guest.state, expected) == "");
  CHECK(guest.Dwords(kKernelStack - 40, 10) ==
        Values{0x18, 0x10, 0x700, saved, 0x100, 0x900, 0xA00, 0xB00, 0xC00, 0xD00});
}

TEST_CASE("V86 mode: IOPL, and handlers that are not ring 0") {
  Guest guest;
  guest.EnterV86(2);
  guest.SetIdt(3, MakeGate(kKernelCode, kHandler, kInterruptGate, 3));
  guest.SetIdt(0x21, MakeGate(kRing1Code, kHandler, kInterruptGate, 3));
  guest.SetIdt(0x22, MakeGate(kConformingCode, kHandler, kInterruptGate, 3));
  const auto raise = [&](uint8_t vector, SoftwareInterrupt kind) {
    RaiseSoftwareInterrupt(guest.cpu, vector, kind, 0x12);
  };
  CHECK_FAULT(guest, Gp(), raise(3, SoftwareInterrupt::kIntN));
  guest.state.eflags |= eflags::kIopl;
  CHECK_FAULT(guest, Gp(kRing1Code), raise(0x21, SoftwareInterrupt::kIntN));
  CHECK_FAULT(guest, Gp(kConformingCode), raise(0x22, SoftwareInterrupt::kIntN));
  guest.state.eflags &= ~eflags::kIopl;
  raise(3, SoftwareInterrupt::kInt3);  // not sensitive to IOPL
  CHECK(guest.state.cpl == 0);
  CHECK(guest.Peek<uint32_t>(kKernelStack - 36) == 0x12);
}

TEST_CASE("real mode") {
  Guest guest;
  guest.EnterRealMode();
  guest.Poke<uint32_t>(0x21 * 4, 0x0650'0123);
  guest.state.eflags |= eflags::kIf | eflags::kTf | eflags::kAc | eflags::kZf;
  CpuState expected = guest.state;
  expected.Segment(Seg::kCs).selector = 0x650;
  expected.Segment(Seg::kCs).base = 0x6500;
  expected.eip = 0x123;
  expected.eflags = eflags::kReserved1 | eflags::kZf;
  expected.gpr[kEsp] = 0xFA;
  const uint32_t flags = guest.state.eflags & 0xFFFF;
  RaiseSoftwareInterrupt(guest.cpu, 0x21, SoftwareInterrupt::kIntN, 0x12);
  CHECK(Diff(guest.state, expected) == "");
  CHECK(guest.Words(0x90FA, 3) == Values{0x12, 0x700, flags});

  guest.Poke<uint32_t>(13 * 4, 0x0660'0000);
  DeliverFault(guest.cpu, {Vector::kGeneralProtection, 0});  // no error code in real mode
  CHECK(guest.Words(0x90F4, 3) == Values{0x123, 0x650, eflags::kReserved1 | eflags::kZf});
  CHECK(guest.state.Segment(Seg::kCs).selector == 0x660);
  guest.state.idtr.limit = 0x10;
  CHECK(FaultOf([&] { DeliverFault(guest.cpu, kPlainGp); }) == "triple");
}

TEST_CASE("SYSENTER and SYSEXIT") {
  Guest guest;
  guest.EnterUser();
  CHECK_FAULT(guest, Gp(), SystemEnter(guest.cpu));  // not set up
  guest.state.sysenter_cs = kKernelCode;
  guest.state.sysenter_esp = kKernelStack;
  guest.state.sysenter_eip = kHandler;
  CHECK_FAULT(guest, Gp(), SystemExit(guest.cpu));  // CPL 3
  const CpuState expected = InHandler(guest, guest.state, kKernelStack);
  SystemEnter(guest.cpu);
  CHECK(Diff(guest.state, expected) == "");
  CpuState user = expected;
  user.Segment(Seg::kCs) = guest.Loaded(kUserCode | 3);
  user.Segment(Seg::kSs) = guest.Loaded(kUserData | 3);
  user.cpl = 3;
  user.gpr[kEsp] = user.gpr[kEcx] = kUserStack;
  user.eip = user.gpr[kEdx] = kCode;
  guest.state.gpr[kEcx] = kUserStack;
  guest.state.gpr[kEdx] = kCode;
  SystemExit(guest.cpu);
  CHECK(Diff(guest.state, user) == "");
  guest.EnterRealMode();
  guest.state.sysenter_cs = kKernelCode;
  CHECK_FAULT(guest, Gp(), SystemEnter(guest.cpu));
  Guest old("pentium");
  old.state.sysenter_cs = kKernelCode;
  CHECK_FAULT(old, Fault(Vector::kInvalidOpcode), SystemEnter(old.cpu));
}

}  // namespace ring3::test
