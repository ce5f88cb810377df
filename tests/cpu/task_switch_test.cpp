#include "tests/cpu/guest.h"

namespace ring3::test {
namespace {

using Values = std::vector<uint32_t>;
constexpr uint32_t kNext = kCode + 7, kTaskEip = 0x5500, kTaskFlags = eflags::kReserved1 | eflags::kSf;

uint8_t TssType(const Guest& guest, uint16_t selector) { return guest.Peek<uint8_t>(kGdt + selector + 5) & 0xF; }

/// TSS B: a ring 0 task with general registers B0..B7 and its stack at kTaskStack.
void FillTaskB(Guest& guest) {
  guest.Poke<uint32_t>(kTssB + 0x1C, kPageDirectory);
  guest.Poke<uint32_t>(kTssB + 0x20, kTaskEip);
  guest.Poke<uint32_t>(kTssB + 0x24, kTaskFlags);
  for (uint32_t i = 0; i < 8; ++i) guest.Poke<uint32_t>(kTssB + 0x28 + i * 4, i == kEsp ? kTaskStack : 0xB0 + i);
  const uint16_t segments[] = {kUserData | 3, kKernelCode, kKernelData, kKernelData, 0, kReadOnlyData};
  for (uint32_t i = 0; i < 6; ++i) guest.Poke<uint16_t>(kTssB + 0x48 + i * 4, segments[i]);
  guest.Poke<uint16_t>(kTssB + 0x60, kSelLdt);
}

CpuState InTaskB(const Guest& guest, const CpuState& start, uint32_t extra_flags) {
  CpuState expected = start;
  expected.tr = {kSelTssB, 0x8B, kTssB, 0x67};
  expected.ldtr = {kSelLdt, 0x82, kLdt, 0x1F};
  expected.gpr = {0xB0, 0xB1, 0xB2, 0xB3, kTaskStack, 0xB5, 0xB6, 0xB7};
  expected.eip = kTaskEip;
  expected.eflags = kTaskFlags | extra_flags;
  expected.seg = {guest.Loaded(kUserData | 3), guest.Loaded(kKernelCode), guest.Loaded(kKernelData),
                  guest.Loaded(kKernelData),   SegmentRegister{},         guest.Loaded(kReadOnlyData)};
  expected.cr0 |= cr0::kTs;
  expected.cpl = 0;
  return expected;
}

}  // namespace

TEST_CASE("jump to a task and back") {
  Guest guest;
  FillTaskB(guest);
  guest.state.dr[7] = 0x400 | 0x3FF;
  const CpuState start = guest.state;
  CpuState expected = InTaskB(guest, start, 0);
  expected.dr[7] = 0x400 | 0x2AA;  // local enables go
  FarJump(guest.cpu, kSelTssB, 0, OperandSize::k32, kNext);
  CHECK(Diff(guest.state, expected) == "");
  CHECK(TssType(guest, kSelTssA) == 9);
  CHECK(TssType(guest, kSelTssB) == 11);
  CHECK(guest.Dwords(kTssA + 0x20, 10) ==
        Values{kNext, start.eflags, 0xA0, 0xA1, 0xA2, 0xA3, kKernelStack, 0xA5, 0xA6, 0xA7});
  CHECK(guest.Dwords(kTssA + 0x48, 6) ==
        Values{kKernelData, kKernelCode, kKernelData, kKernelData, kKernelData, kKernelData});
  CHECK(guest.Peek<uint16_t>(kTssB) == 0);  // no link

  FarJump(guest.cpu, kSelTssA, 0, OperandSize::k32, 0x5600);
  expected = start;
  expected.eip = kNext;
  expected.cr0 |= cr0::kTs;
  expected.dr[7] = 0x400 | 0x2AA;
  CHECK(Diff(guest.state, expected) == "");
  CHECK(guest.Peek<uint32_t>(kTssB + 0x20) == 0x5600);
}

TEST_CASE("call a task through a gate; IRET returns") {
  Guest guest;
  FillTaskB(guest);
  const CpuState start = guest.state;
  FarCall(guest.cpu, kTaskGateB, 0, OperandSize::k32, kNext);
  CHECK(Diff(guest.state, InTaskB(guest, start, eflags::kNt)) == "");
  CHECK(guest.Peek<uint16_t>(kTssB) == kSelTssA);
  CHECK(TssType(guest, kSelTssA) == 11);

  guest.Poke<uint16_t>(kTaskEip, 0xCF66);  // IRET with a prefix
  InterruptReturn(guest.cpu, OperandSize::k16);
  CpuState expected = start;
  expected.eip = kNext;
  expected.cr0 |= cr0::kTs;
  CHECK(Diff(guest.state, expected) == "");
  CHECK(TssType(guest, kSelTssB) == 9);
  CHECK(guest.Peek<uint32_t>(kTssB + 0x20) == kTaskEip + 2);
  CHECK(guest.Peek<uint32_t>(kTssB + 0x24) == kTaskFlags);  // saved without NT
}

TEST_CASE("an exception through a task gate pushes its error code in the new task") {
  Guest guest;
  FillTaskB(guest);
  guest.EnterUser();
  guest.SetIdt(13, MakeGate(kSelTssB, 0, 5, 0));
  const CpuState start = guest.state;
  CpuState expected = InTaskB(guest, start, eflags::kNt);
  expected.gpr[kEsp] -= 4;
  DeliverFault(guest.cpu, {Vector::kGeneralProtection, 0x18});
  CHECK(Diff(guest.state, expected) == "");
  CHECK(guest.Peek<uint32_t>(kTaskStack - 4) == 0x18);
  CHECK(guest.Peek<uint32_t>(kTssA + 0x20) == kCode);
  CHECK(guest.Peek<uint32_t>(kTssA + 0x24) == (start.eflags | eflags::kRf));
}

TEST_CASE("a 16-bit task") {
  Guest guest;
  guest.Poke<uint16_t>(kTss16 + 0x0E, 0x5500);
  guest.Poke<uint16_t>(kTss16 + 0x10, 0x0046);
  for (uint16_t i = 0; i < 8; ++i) guest.Poke<uint16_t>(kTss16 + 0x12 + i * 2, 0xC0 + i);
  const uint16_t segments[] = {kKernelData, kCode16, kStack16, kKernelData};
  for (uint32_t i = 0; i < 4; ++i) guest.Poke<uint16_t>(kTss16 + 0x22 + i * 2, segments[i]);
  const CpuState start = guest.state;
  CpuState expected = start;
  expected.tr = {kSelTss16, 0x83, kTss16, 0x2B};
  for (uint32_t i = 0; i < 8; ++i) expected.gpr[i] = 0xC0 + i;
  expected.eip = 0x5500;
  expected.eflags = 0x46 | eflags::kNt;
  expected.seg = {guest.Loaded(kKernelData), guest.Loaded(kCode16), guest.Loaded(kStack16),
                  guest.Loaded(kKernelData), SegmentRegister{},     SegmentRegister{}};
  expected.cr0 |= cr0::kTs;
  FarCall(guest.cpu, kSelTss16, 0, OperandSize::k32, kNext);
  CHECK(Diff(guest.state, expected) == "");
  CHECK(guest.Peek<uint16_t>(kTss16) == kSelTssA);
  guest.state.gpr[kEax] = 0x1234'5678;
  guest.Poke<uint8_t>(0x5500, 0xCF);
  InterruptReturn(guest.cpu, OperandSize::k16);
  CHECK(guest.Words(kTss16 + 0x0E, 3) == Values{0x5501, 0x46, 0x5678});
  CHECK(guest.state.eip == kNext);
  CHECK(guest.state.tr == start.tr);
}

TEST_CASE("task switch: CR3 and V86 tasks") {
  Guest guest;
  FillTaskB(guest);
  guest.EnablePaging({});
  constexpr uint32_t kOtherDirectory = 0x14000;
  guest.Poke<uint32_t>(kOtherDirectory, kPageTable | 7);
  guest.Poke<uint32_t>(kTssB + 0x1C, kOtherDirectory);
  guest.Poke<uint32_t>(kTssB + 0x20, 0x10);
  guest.Poke<uint32_t>(kTssB + 0x24, eflags::kReserved1 | eflags::kVm);
  for (uint32_t i = 0; i < 6; ++i) guest.Poke<uint16_t>(kTssB + 0x48 + i * 4, static_cast<uint16_t>(0x700 + i * 0x100));
  FarJump(guest.cpu, kSelTssB, 0, OperandSize::k32, kNext);
  CHECK(guest.state.cr3 == kOtherDirectory);
  CHECK(guest.cpu.mmu.Paging().cr3 == kOtherDirectory);
  CHECK(guest.state.cpl == 3);
  CHECK(guest.state.V86());
  CHECK(guest.state.Segment(Seg::kCs) == SegmentRegister{0x800, 0xFB, 0x8000, 0xFFFF});
  CHECK(guest.state.Segment(Seg::kGs) == SegmentRegister{0xC00, 0xF3, 0xC000, 0xFFFF});
}

TEST_CASE("task switch refusals before the point of no return") {
  Guest guest;
  FillTaskB(guest);
  const auto jump = [&](uint16_t selector) { FarJump(guest.cpu, selector, 0, OperandSize::k32, kNext); };
  CHECK_FAULT(guest, Gp(kSelTssA), jump(kSelTssA));  // busy
  CHECK_FAULT(guest, Gp(kSelTssB), jump(kSelTssB | 3));
  guest.SetGdt(kSelTssB, MakeDescriptor(kTssB, 0x66, 0x89));
  CHECK_FAULT(guest, Fault(Vector::kInvalidTss, kSelTssB), jump(kSelTssB));
  guest.SetGdt(kSelTssB, MakeDescriptor(kTssB, 0x67, 0x09));
  CHECK_FAULT(guest, Fault(Vector::kSegmentNotPresent, kSelTssB), jump(kSelTssB));
  CHECK_FAULT(guest, Fault(Vector::kSegmentNotPresent, kSelTssB), jump(kTaskGateB));
  guest.SetGdt(kTaskGateB, MakeGate(kSelTssB | 4, 0, 5, 0));
  CHECK_FAULT(guest, Gp(kSelTssB | 4), jump(kTaskGateB));
  guest.SetGdt(kTaskGateB, MakeGate(kKernelData, 0, 5, 0));
  CHECK_FAULT(guest, Gp(kKernelData), jump(kTaskGateB));
  guest.state.eflags |= eflags::kNt;
  guest.Poke<uint8_t>(kCode, 0xCF);
  guest.Poke<uint16_t>(kTssA, kSelTss16);  // not busy
  CHECK_FAULT(guest, Fault(Vector::kInvalidTss, kSelTss16), InterruptReturn(guest.cpu, OperandSize::k32));
  guest.EnterUser();
  guest.SetGdt(kSelTssB, MakeDescriptor(kTssB, 0x67, 0x89));
  guest.state.eflags &= ~eflags::kNt;
  CHECK_FAULT(guest, Gp(kSelTssB), jump(kSelTssB));
}

TEST_CASE("faults after the point of no return belong to the new task") {
  struct Row {
    uint32_t offset;
    uint16_t selector;
    std::string fault;
  };
  const Row rows[] = {
      {0x60, kKernelData, Fault(Vector::kInvalidTss, kKernelData)},
      {0x4C, 0, Fault(Vector::kInvalidTss, 0)},
      {0x4C, kKernelData, Fault(Vector::kInvalidTss, kKernelData)},
      {0x4C, kKernelCode | 3, Fault(Vector::kInvalidTss, kKernelCode)},
      {0x4C, kAbsentCode, Fault(Vector::kSegmentNotPresent, kAbsentCode)},
      {0x50, kUserData | 3, Fault(Vector::kInvalidTss, kUserData)},
      {0x50, kAbsentData, Fault(Vector::kStackFault, kAbsentData)},
      {0x54, kExecuteOnly, Fault(Vector::kInvalidTss, kExecuteOnly)},
      {0x5C, kAbsentData, Fault(Vector::kSegmentNotPresent, kAbsentData)},
      {0x4C, kSmallCode, Gp()},
  };
  for (const Row& row : rows) {
    INFO("TSS offset " << row.offset << " selector " << row.selector);
    Guest guest;
    FillTaskB(guest);
    guest.Poke<uint16_t>(kTssB + row.offset, row.selector);
    CHECK(FaultOf([&] { FarJump(guest.cpu, kSelTssB, 0, OperandSize::k32, kNext); }) == row.fault);
    CHECK(guest.state.eip == kTaskEip);
    CHECK(guest.state.tr == SegmentRegister{kSelTssB, 0x8B, kTssB, 0x67});
    CHECK(guest.state.gpr[kEdi] == 0xB7);
    CHECK(guest.Peek<uint32_t>(kTssA + 0x20) == kNext);
  }
}

TEST_CASE("the T bit of a TSS traps before the new task's first instruction") {
  for (const bool trap : {false, true}) {
    Guest guest;
    FillTaskB(guest);
    guest.Poke<uint16_t>(kTssB + 0x64, trap);
    FarJump(guest.cpu, kSelTssB, 0, OperandSize::k32, kNext);
    CHECK(guest.state.DebugTrapDue() == trap);
    CHECK(guest.state.pending_debug == (trap ? dr6::kBt : 0));
  }
}

TEST_CASE("a task switch disarms local breakpoints and keeps global ones") {
  Guest guest;
  FillTaskB(guest);
  WriteDebug(guest.cpu, 0, 0x1234);
  WriteDebug(guest.cpu, 1, 0x5678);
  WriteDebug(guest.cpu, 7, 1u << 0 | 2u << 2 | 1u << 8 | 1u << 9);  // L0, G1, LE, GE
  FarJump(guest.cpu, kSelTssB, 0, OperandSize::k32, kNext);
  CHECK(ReadDebug(guest.cpu, 7) == (dr7::kFixedOnes | 2u << 2 | 1u << 9));
  REQUIRE(guest.cpu.breakpoints.Armed().size() == 1);
  CHECK(guest.cpu.breakpoints.Armed()[0].number == 1);
  WriteDebug(guest.cpu, 7, 0);
}

}  // namespace ring3::test
