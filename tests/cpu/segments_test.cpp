#include "tests/cpu/guest.h"

namespace ring3::test {

TEST_CASE("loading data segment registers") {
  Guest guest;
  for (Seg s : {Seg::kEs, Seg::kDs, Seg::kFs, Seg::kGs}) {
    for (uint16_t selector : {kUserData | 3, kUserData | 0, kReadOnlyData | 0, kKernelCode | 0, kConformingCode | 3}) {
      CpuState expected = guest.state;
      expected.Segment(s) = guest.Loaded(static_cast<uint16_t>(selector));
      LoadSegment(guest.cpu, s, static_cast<uint16_t>(selector));
      CHECK(Diff(guest.state, expected) == "");
    }
    CpuState expected = guest.state;
    expected.Segment(s) = {3, 0, 0, 0};
    LoadSegment(guest.cpu, s, 3);
    CHECK(Diff(guest.state, expected) == "");
  }
  CHECK_FAULT(guest, Gp(kKernelData), LoadSegment(guest.cpu, Seg::kDs, kKernelData | 1));
  CHECK_FAULT(guest, Gp(kExecuteOnly), LoadSegment(guest.cpu, Seg::kDs, kExecuteOnly));
  CHECK_FAULT(guest, Gp(kSelTssA), LoadSegment(guest.cpu, Seg::kDs, kSelTssA));
  CHECK_FAULT(guest, Gp(kBeyondGdt), LoadSegment(guest.cpu, Seg::kDs, kBeyondGdt | 3));
  CHECK_FAULT(guest, Gp(0xC), LoadSegment(guest.cpu, Seg::kDs, 0xC));  // no LDT loaded
  CHECK_FAULT(guest, Fault(Vector::kSegmentNotPresent, kAbsentData), LoadSegment(guest.cpu, Seg::kDs, kAbsentData));
  guest.EnterUser();
  CHECK_FAULT(guest, Gp(kKernelData), LoadSegment(guest.cpu, Seg::kEs, kKernelData));
  CHECK_FAULT(guest, Gp(kKernelData), LoadSegment(guest.cpu, Seg::kEs, kKernelData | 3));
  LoadSegment(guest.cpu, Seg::kEs, kConformingCode | 3);
  CHECK(guest.state.Segment(Seg::kEs) == guest.Loaded(kConformingCode | 3));
}

TEST_CASE("loading SS") {
  Guest guest;
  CpuState expected = guest.state;
  expected.Segment(Seg::kSs) = guest.Loaded(kStack16);
  LoadSegment(guest.cpu, Seg::kSs, kStack16);
  CHECK(Diff(guest.state, expected) == "");
  CHECK_FAULT(guest, Gp(), LoadSegment(guest.cpu, Seg::kSs, 0));
  CHECK_FAULT(guest, Gp(), LoadSegment(guest.cpu, Seg::kSs, 3));
  CHECK_FAULT(guest, Gp(kKernelData), LoadSegment(guest.cpu, Seg::kSs, kKernelData | 3));
  CHECK_FAULT(guest, Gp(kUserData), LoadSegment(guest.cpu, Seg::kSs, kUserData));
  CHECK_FAULT(guest, Gp(kReadOnlyData), LoadSegment(guest.cpu, Seg::kSs, kReadOnlyData));
  CHECK_FAULT(guest, Gp(kKernelCode), LoadSegment(guest.cpu, Seg::kSs, kKernelCode));
  CHECK_FAULT(guest, Gp(kBeyondGdt), LoadSegment(guest.cpu, Seg::kSs, kBeyondGdt));
  CHECK_FAULT(guest, Fault(Vector::kStackFault, kAbsentData), LoadSegment(guest.cpu, Seg::kSs, kAbsentData));
}

TEST_CASE("the accessed bit is written back, and a fault on the table is the walk's") {
  Guest guest;
  guest.SetGdt(kUserData, MakeDescriptor(0, 0xFFFF'FFFF, 0xC0F2));
  LoadSegment(guest.cpu, Seg::kDs, kUserData | 3);
  CHECK(guest.Peek<uint64_t>(kGdt + kUserData) == MakeDescriptor(0, 0xFFFF'FFFF, 0xC0F3));
  CHECK(guest.state.Segment(Seg::kDs).attributes == 0xC0F3);
  guest.EnterUser();
  guest.EnablePaging({kGdt});
  CHECK_FAULT(guest, Fault(Vector::kPageFault, 0), LoadSegment(guest.cpu, Seg::kDs, kUserData | 3));
}

TEST_CASE("LDT and task register") {
  Guest guest;
  guest.Poke<uint64_t>(kLdt + 8, MakeDescriptor(0x1000, 0xFFFF'FFFF, 0xC093));
  CpuState expected = guest.state;
  expected.ldtr = {kSelLdt, 0x82, kLdt, 0x1F};
  LoadLdt(guest.cpu, kSelLdt);
  CHECK(Diff(guest.state, expected) == "");
  LoadSegment(guest.cpu, Seg::kFs, 0xC);
  CHECK(guest.state.Segment(Seg::kFs) == SegmentRegister{0xC, 0xC093, 0x1000, 0xFFFF'FFFF});
  CHECK_FAULT(guest, Gp(0x24), LoadSegment(guest.cpu, Seg::kFs, 0x24));  // beyond the LDT
  CHECK_FAULT(guest, Gp(0xC), LoadLdt(guest.cpu, 0xC));
  CHECK_FAULT(guest, Gp(kSelTssB), LoadLdt(guest.cpu, kSelTssB));
  LoadLdt(guest.cpu, 0);
  CHECK_FALSE(guest.state.ldtr.Present());

  CHECK_FAULT(guest, Gp(), LoadTaskRegister(guest.cpu, 0));
  CHECK_FAULT(guest, Gp(kSelTssA), LoadTaskRegister(guest.cpu, kSelTssA));  // busy
  CHECK_FAULT(guest, Gp(kSelLdt), LoadTaskRegister(guest.cpu, kSelLdt));
  expected = guest.state;
  expected.tr = {kSelTssB, 0x8B, kTssB, 0x67};
  LoadTaskRegister(guest.cpu, kSelTssB);
  CHECK(Diff(guest.state, expected) == "");
  CHECK(guest.Peek<uint8_t>(kGdt + kSelTssB + 5) == 0x8B);
  guest.SetGdt(kSelTss16, MakeDescriptor(kTss16, 0x2B, 0x01));
  CHECK_FAULT(guest, Fault(Vector::kSegmentNotPresent, kSelTss16), LoadTaskRegister(guest.cpu, kSelTss16));
  guest.EnterUser();
  CHECK_FAULT(guest, Gp(), LoadTaskRegister(guest.cpu, kSelTss16));
  CHECK_FAULT(guest, Gp(), LoadLdt(guest.cpu, 0));
  guest.EnterV86(3);
  CHECK_FAULT(guest, Fault(Vector::kInvalidOpcode), LoadLdt(guest.cpu, 0));
}

TEST_CASE("real, unreal and V86 mode") {
  Guest guest;
  LoadSegment(guest.cpu, Seg::kDs, kUserData);
  guest.state.cr0 &= ~cr0::kPe;
  CpuState expected = guest.state;
  expected.Segment(Seg::kDs) = {0x1234, 0xC0F3, 0x12340, 0xFFFF'FFFF};  // the cached limit stays
  LoadSegment(guest.cpu, Seg::kDs, 0x1234);
  CHECK(Diff(guest.state, expected) == "");
  CHECK(CheckedLinear(guest.cpu, Seg::kDs, 0x10'0000, 4, AccessType::kWrite) == GuestLinear(0x112340));
  Guest v86;
  v86.EnterV86(3);
  expected = v86.state;
  expected.Segment(Seg::kGs) = {0x1234, 0xF3, 0x12340, 0xFFFF};
  LoadSegment(v86.cpu, Seg::kGs, 0x1234);
  CHECK(Diff(v86.state, expected) == "");
  CHECK_FAULT(v86, Gp(), CheckedLinear(v86.cpu, Seg::kGs, 0xFFFF, 2, AccessType::kRead));
  CHECK_FAULT(v86, Fault(Vector::kStackFault, 0), CheckedLinear(v86.cpu, Seg::kSs, 0xFFFD, 4, AccessType::kRead));
  CHECK(CheckedLinear(v86.cpu, Seg::kCs, 0xFFFE, 2, AccessType::kWrite) == GuestLinear(0x16FFE));
}

TEST_CASE("limits and types of accesses") {
  Guest guest;
  const auto load = [&](Seg s, uint16_t selector) { guest.state.Segment(s) = guest.Loaded(selector); };
  load(Seg::kDs, kReadOnlyData);
  load(Seg::kEs, kExecuteOnly);
  load(Seg::kFs, kExpandDown);
  load(Seg::kGs, kStack16);
  guest.state.Segment(Seg::kSs) = guest.Loaded(kSmallStack);
  const auto check = [&](Seg s, uint32_t offset, uint32_t bytes, AccessType type) {
    return FaultOf([&] { CheckedLinear(guest.cpu, s, offset, bytes, type); });
  };
  CHECK(check(Seg::kDs, 0, 4, AccessType::kRead) == "none");
  CHECK(check(Seg::kDs, 0xFFFF'FFFE, 4, AccessType::kRead) == "none");
  CHECK(check(Seg::kDs, 0, 4, AccessType::kWrite) == Gp());
  CHECK(check(Seg::kEs, 0, 1, AccessType::kRead) == Gp());
  CHECK(check(Seg::kEs, 0, 1, AccessType::kFetch) == "none");
  CHECK(check(Seg::kFs, 0xFFF, 1, AccessType::kWrite) == Gp());
  CHECK(check(Seg::kFs, 0x1000, 4, AccessType::kWrite) == "none");
  CHECK(check(Seg::kFs, 0xFFFF'FFFC, 4, AccessType::kWrite) == "none");
  CHECK(check(Seg::kFs, 0xFFFF'FFFD, 4, AccessType::kWrite) == Gp());
  CHECK(check(Seg::kGs, 0xFFFC, 4, AccessType::kWrite) == "none");
  CHECK(check(Seg::kGs, 0xFFFD, 4, AccessType::kWrite) == Gp());
  CHECK(check(Seg::kGs, 0xFFFF'FFFF, 2, AccessType::kRead) == Gp());
  CHECK(check(Seg::kSs, 0xE, 4, AccessType::kRead) == Fault(Vector::kStackFault, 0));
  LoadSegment(guest.cpu, Seg::kGs, 0);
  CHECK(check(Seg::kGs, 0, 1, AccessType::kRead) == Gp());
}

TEST_CASE("LAR, LSL, VERR, VERW") {
  Guest guest;
  CHECK(LoadAccessRights(guest.cpu, kKernelCode) == 0xCF9B00u);
  CHECK(LoadAccessRights(guest.cpu, kSelTssB) == 0x8900u);
  CHECK(LoadAccessRights(guest.cpu, kTaskGateB) == 0x8500u);
  CHECK(LoadSegmentLimit(guest.cpu, kTaskGateB) == std::nullopt);
  CHECK(LoadSegmentLimit(guest.cpu, kKernelData) == 0xFFFF'FFFFu);
  CHECK(LoadSegmentLimit(guest.cpu, kSelTssA) == 0x6Bu);
  for (uint16_t hidden : {uint16_t{0}, uint16_t{kBeyondGdt}, uint16_t{0xC}, uint16_t{kKernelData | 1}}) {
    CHECK(LoadAccessRights(guest.cpu, hidden) == std::nullopt);
    CHECK(LoadSegmentLimit(guest.cpu, hidden) == std::nullopt);
    CHECK_FALSE(VerifyRead(guest.cpu, hidden));
    CHECK_FALSE(VerifyWrite(guest.cpu, hidden));
  }
  guest.SetGdt(kCallGate, MakeGate(kKernelCode, 0, 14, 0));  // an interrupt gate is no business of LAR
  CHECK(LoadAccessRights(guest.cpu, kCallGate) == std::nullopt);
  CHECK(VerifyRead(guest.cpu, kReadOnlyData));
  CHECK_FALSE(VerifyWrite(guest.cpu, kReadOnlyData));
  CHECK_FALSE(VerifyRead(guest.cpu, kExecuteOnly));
  CHECK(VerifyWrite(guest.cpu, kKernelData));
  CHECK_FALSE(VerifyRead(guest.cpu, kSelTssA));
  guest.EnterUser();
  CHECK_FALSE(VerifyRead(guest.cpu, kKernelData));
  CHECK(VerifyRead(guest.cpu, kConformingCode | 3));
  CHECK(VerifyWrite(guest.cpu, kUserData));
  guest.EnterV86(3);
  CHECK_FAULT(guest, Fault(Vector::kInvalidOpcode), VerifyRead(guest.cpu, kUserData));
}

TEST_CASE("push and pop at both sizes and stack widths") {
  Guest guest;
  CpuState expected = guest.state;
  Push(guest.cpu, 0x1234'5678, OperandSize::k32);
  Push(guest.cpu, 0xABCD, OperandSize::k16);
  expected.gpr[kEsp] = kKernelStack - 6;
  CHECK(Diff(guest.state, expected) == "");
  CHECK(guest.Peek<uint32_t>(kKernelStack - 4) == 0x1234'5678);
  CHECK(Pop(guest.cpu, OperandSize::k16) == 0xABCD);
  CHECK(Pop(guest.cpu, OperandSize::k32) == 0x1234'5678);

  LoadSegment(guest.cpu, Seg::kSs, kStack16);
  guest.state.gpr[kEsp] = 0x55AA'0000;  // SP wraps, the upper half stays
  Push(guest.cpu, 0x42, OperandSize::k32);
  CHECK(guest.state.gpr[kEsp] == 0x55AA'FFFC);
  CHECK(guest.Peek<uint32_t>(0x2FFFC) == 0x42);
  CHECK(Pop(guest.cpu, OperandSize::k32) == 0x42);
  CHECK(guest.state.gpr[kEsp] == 0x55AA'0000);
  guest.state.gpr[kEsp] = 1;
  CHECK_FAULT(guest, Fault(Vector::kStackFault, 0), Push(guest.cpu, 1, OperandSize::k16));
  guest.state.Segment(Seg::kSs) = guest.Loaded(kSmallStack);
  guest.state.gpr[kEsp] = 0xE;
  CHECK_FAULT(guest, Fault(Vector::kStackFault, 0), Pop(guest.cpu, OperandSize::k32));
  Guest paged;
  paged.EnterUser();
  paged.EnablePaging({kUserStack - 0x1000});
  CHECK_FAULT(paged, Fault(Vector::kPageFault, 6), Push(paged.cpu, 1, OperandSize::k32));
}

}  // namespace ring3::test
