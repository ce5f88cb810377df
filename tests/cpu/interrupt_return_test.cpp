#include "tests/cpu/guest.h"

namespace ring3::test {
namespace {

using Values = std::vector<uint32_t>;
constexpr uint32_t kTarget = 0x5000;
constexpr uint32_t kFlags = eflags::kReserved1 | eflags::kZf | eflags::kIf | eflags::kAc;

/// Puts a 32-bit frame on the current flat stack.
void PutFrame(Guest& guest, uint32_t esp, const Values& frame) {
  for (unsigned i = 0; i < frame.size(); ++i) guest.Poke<uint32_t>(esp + i * 4, frame[i]);
  guest.state.gpr[kEsp] = esp;
}

constexpr uint32_t kFrame = kKernelStack - 64;

}  // namespace

TEST_CASE("IRET to the same level") {
  Guest guest;
  PutFrame(guest, kFrame, {kTarget, kConformingCode, kFlags | eflags::kIopl | eflags::kRf | 0xFFC0'0028});
  CpuState expected = guest.state;
  expected.Segment(Seg::kCs) = guest.Loaded(kConformingCode);
  expected.eip = kTarget;
  expected.eflags = kFlags | eflags::kIopl | eflags::kRf;
  expected.gpr[kEsp] = kFrame + 12;
  InterruptReturn(guest.cpu, OperandSize::k32);
  CHECK(Diff(guest.state, expected) == "");
}

TEST_CASE("16-bit IRET leaves the upper half of EFLAGS") {
  Guest guest;
  guest.state.eflags |= eflags::kAc;
  guest.state.gpr[kEsp] = kFrame;
  for (uint32_t i = 0; const uint16_t word : {0x5000, int{kKernelCode}, 0x0246})
    guest.Poke<uint16_t>(kFrame + 2 * i++, word);
  CpuState expected = guest.state;
  expected.eip = kTarget;
  expected.eflags = 0x246 | eflags::kAc;
  expected.gpr[kEsp] = kFrame + 6;
  InterruptReturn(guest.cpu, OperandSize::k16);
  CHECK(Diff(guest.state, expected) == "");
}

TEST_CASE("IRET to an outer level nulls segments that CPL 3 may not use") {
  Guest guest;
  PutFrame(guest, kFrame, {kTarget, kUserCode | 3, kFlags, kUserStack, kUserData | 3});
  LoadSegment(guest.cpu, Seg::kEs, kUserData | 3);
  LoadSegment(guest.cpu, Seg::kFs, kConformingCode);
  LoadSegment(guest.cpu, Seg::kGs, 3);
  CpuState expected = guest.state;
  expected.Segment(Seg::kCs) = guest.Loaded(kUserCode | 3);
  expected.Segment(Seg::kSs) = guest.Loaded(kUserData | 3);
  expected.Segment(Seg::kDs) = {};
  expected.Segment(Seg::kGs) = {};
  expected.eip = kTarget;
  expected.eflags = kFlags;
  expected.cpl = 3;
  expected.gpr[kEsp] = kUserStack;
  InterruptReturn(guest.cpu, OperandSize::k32);
  CHECK(Diff(guest.state, expected) == "");
}

TEST_CASE("a return to a 16-bit stack loads SP only") {
  Guest guest;
  PutFrame(guest, kFrame, {kTarget, kUserCode | 3, kFlags, 0x1234'5678, kUserStack16 | 3});
  guest.state.gpr[kEsp] = kFrame;
  InterruptReturn(guest.cpu, OperandSize::k32);
  CHECK(guest.state.gpr[kEsp] == ((kFrame & 0xFFFF'0000) | 0x5678));
  CHECK(guest.state.Segment(Seg::kSs) == guest.Loaded(kUserStack16 | 3));
}

TEST_CASE("IRET changes IF and IOPL by privilege only") {
  for (unsigned iopl = 0; iopl < 4; ++iopl) {
    Guest guest;
    guest.EnterUser();
    guest.state.eflags = eflags::kReserved1 | iopl << 12;
    PutFrame(guest, kUserStack - 64, {kTarget, kUserCode | 3, 0xFFFD'FFFF & ~eflags::kTf});
    InterruptReturn(guest.cpu, OperandSize::k32);
    const uint32_t changed = 0x0025'4CD5 | (iopl == 3 ? eflags::kIf : 0);
    CHECK(guest.state.eflags == (eflags::kReserved1 | iopl << 12 | changed));
  }
}

TEST_CASE("IRET checks") {
  Guest guest;
  const auto with = [&](Values frame) {
    PutFrame(guest, kFrame, frame);
    InterruptReturn(guest.cpu, OperandSize::k32);
  };
  guest.state.gpr[kEsp] = kFrame;
  CHECK_FAULT(guest, Gp(), with({kTarget, 0, kFlags}));
  CHECK_FAULT(guest, Gp(kBeyondGdt), with({kTarget, kBeyondGdt, kFlags}));
  CHECK_FAULT(guest, Gp(kKernelData), with({kTarget, kKernelData, kFlags}));
  CHECK_FAULT(guest, Gp(kUserCode), with({kTarget, kUserCode, kFlags}));
  CHECK_FAULT(guest, Gp(kSelTssA), with({kTarget, kSelTssA, kFlags}));
  CHECK_FAULT(guest, Fault(Vector::kSegmentNotPresent, kAbsentCode), with({kTarget, kAbsentCode, kFlags}));
  CHECK_FAULT(guest, Gp(), with({0x1000, kSmallCode, kFlags}));
  CHECK_FAULT(guest, Gp(), with({kTarget, kUserCode | 3, kFlags, kUserStack, 3}));
  CHECK_FAULT(guest, Gp(kUserData), with({kTarget, kUserCode | 3, kFlags, kUserStack, kUserData | 1}));
  CHECK_FAULT(guest, Gp(kKernelData), with({kTarget, kUserCode | 3, kFlags, kUserStack, kKernelData | 3}));
  guest.SetGdt(kAbsentData, MakeDescriptor(0, 0xFFFF'FFFF, 0xC073));
  CHECK_FAULT(guest, Fault(Vector::kStackFault, kAbsentData),
              with({kTarget, kUserCode | 3, kFlags, kUserStack, kAbsentData | 3}));
  guest.state.Segment(Seg::kSs) = guest.Loaded(kSmallStack);
  guest.state.gpr[kEsp] = 8;
  CHECK_FAULT(guest, Fault(Vector::kStackFault, 0), InterruptReturn(guest.cpu, OperandSize::k32));
  Guest user;
  user.EnterUser();
  PutFrame(user, kUserStack - 64, {kTarget, kKernelCode, kFlags});
  CHECK_FAULT(user, Gp(kKernelCode), InterruptReturn(user.cpu, OperandSize::k32));
  user.EnablePaging({kUserStack - 0x1000});
  CHECK_FAULT(user, Fault(Vector::kPageFault, 4), InterruptReturn(user.cpu, OperandSize::k32));
}

TEST_CASE("IRET to V86 mode and an interrupt back") {
  Guest reference;
  reference.EnterV86(3);
  CpuState expected = reference.state;
  Guest guest;
  const uint32_t image = eflags::kReserved1 | eflags::kVm | eflags::kIf | eflags::kIopl | 0xFF00'0000;
  PutFrame(guest, kFrame, {0x10, 0x700, image, 0x1'0100, 0x900, 0xA00, 0xB00, 0xC00, 0xD00});
  expected.eflags = image & 0x00FF'FFFF;
  expected.gpr[kEsp] = 0x1'0100;
  InterruptReturn(guest.cpu, OperandSize::k32);
  CHECK(Diff(guest.state, expected) == "");
  guest.SetIdt(0x20, MakeGate(kKernelCode, kHandler, 14, 0));
  DeliverExternalInterrupt(guest.cpu, 0x20);
  CHECK(guest.Dwords(kKernelStack - 36, 9) ==
        Values{0x10, 0x700, expected.eflags, 0x1'0100, 0x900, 0xA00, 0xB00, 0xC00, 0xD00});
  InterruptReturn(guest.cpu, OperandSize::k32);
  CHECK(Diff(guest.state, expected) == "");

  Guest bad;
  PutFrame(bad, kFrame, {0x1'0000, 0x700, image, 0x100, 0x900, 0xA00, 0xB00, 0xC00, 0xD00});
  CHECK_FAULT(bad, Gp(), InterruptReturn(bad.cpu, OperandSize::k32));
}

TEST_CASE("IRET in V86 and real mode") {
  Guest v86;
  v86.EnterV86(2);
  CHECK_FAULT(v86, Gp(), InterruptReturn(v86.cpu, OperandSize::k16));
  v86.state.eflags |= eflags::kIopl;
  for (uint32_t i = 0; const uint16_t word : {0x44, 0x650, 0x0002}) v86.Poke<uint16_t>(0x9100 + 2 * i++, word);
  CpuState expected = v86.state;
  expected.Segment(Seg::kCs) = {0x650, 0xFB, 0x6500, 0xFFFF};
  expected.eip = 0x44;
  expected.eflags = eflags::kReserved1 | eflags::kVm | eflags::kIopl;  // IOPL and VM are not IRET's to change
  expected.gpr[kEsp] = 0x106;
  InterruptReturn(v86.cpu, OperandSize::k16);
  CHECK(Diff(v86.state, expected) == "");

  Guest real;
  real.EnterRealMode();
  for (uint32_t i = 0; const uint16_t word : {0x44, 0x650, 0x7202}) real.Poke<uint16_t>(0x9100 + 2 * i++, word);
  expected = real.state;
  expected.Segment(Seg::kCs).selector = 0x650;
  expected.Segment(Seg::kCs).base = 0x6500;
  expected.eip = 0x44;
  expected.eflags = 0x7202;  // NT and IOPL are loaded, and NT means nothing here
  expected.gpr[kEsp] = 0x106;
  InterruptReturn(real.cpu, OperandSize::k16);
  CHECK(Diff(real.state, expected) == "");
}

}  // namespace ring3::test
