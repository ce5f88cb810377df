// NMI: delivered once, blocked until IRET (SDM 3A 6.7.1).
#include "tests/cpu/guest.h"

namespace ring3::test {

TEST_CASE("an NMI blocks the next until IRET, whatever IF says, and wakes a halted processor") {
  Guest guest;
  guest.SetIdt(2, MakeGate(kKernelCode, kHandler, 14, 0));
  guest.state.eflags &= ~eflags::kIf;
  guest.state.halted = true;
  CHECK_FALSE(guest.state.NmiDue());
  guest.state.nmi_pending = true;
  REQUIRE(guest.state.NmiDue());
  DeliverNmi(guest.cpu);
  CHECK(guest.state.eip == kHandler);
  CHECK_FALSE(guest.state.halted);
  CHECK_FALSE(guest.state.nmi_pending);
  CHECK(guest.Peek<uint32_t>(kKernelStack - 12) == kCode);
  guest.state.nmi_pending = true;  // one more waits
  CHECK_FALSE(guest.state.NmiDue());
  InterruptReturn(guest.cpu, OperandSize::k32);
  CHECK(guest.state.NmiDue());
}

TEST_CASE("MOV SS holds off an NMI, STI does not") {
  Guest guest;
  guest.state.nmi_pending = true;
  guest.state.interrupt_shadow = true;
  CHECK(guest.state.NmiDue());
  guest.state.debug_shadow = true;
  CHECK_FALSE(guest.state.NmiDue());
}

TEST_CASE("an IRET that faults unblocks NMI all the same") {
  Guest bad_frame;
  bad_frame.state.nmi_blocked = true;
  bad_frame.state.gpr[kEsp] = kKernelStack - 16;  // a null CS
  CHECK(FaultOf([&] { InterruptReturn(bad_frame.cpu, OperandSize::k32); }) == Gp());
  CHECK_FALSE(bad_frame.state.nmi_blocked);
  Guest v86;
  v86.EnterV86(0);
  v86.state.nmi_blocked = true;
  CHECK(FaultOf([&] { InterruptReturn(v86.cpu, OperandSize::k16); }) == Gp());
  CHECK_FALSE(v86.state.nmi_blocked);
}

TEST_CASE("faults met while an NMI is delivered carry EXT, and NMI stays blocked") {
  Guest guest;
  guest.SetIdt(2, MakeGate(kBeyondGdt, kHandler, 14, 0));
  guest.SetIdt(13, MakeGate(kKernelCode, kHandler, 14, 0));
  guest.state.nmi_pending = true;
  DeliverNmi(guest.cpu);
  CHECK(guest.Peek<uint32_t>(guest.state.gpr[kEsp]) == (kBeyondGdt | 1));
  CHECK(guest.state.nmi_blocked);
}

}  // namespace ring3::test
