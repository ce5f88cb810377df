#include "tests/cpu/guest.h"

namespace ring3::test {
namespace {

constexpr uint32_t kNext = kCode + 7, kTarget = 0x5000;
using Values = std::vector<uint32_t>;

}  // namespace

TEST_CASE("far jump to code") {
  Guest guest;
  CpuState expected = guest.state;
  expected.Segment(Seg::kCs) = guest.Loaded(kConformingCode);
  expected.eip = kTarget;
  FarJump(guest.cpu, kConformingCode | 3, kTarget, OperandSize::k32, kNext);
  CHECK(Diff(guest.state, expected) == "");
  expected.Segment(Seg::kCs) = guest.Loaded(kCode16);
  FarJump(guest.cpu, kCode16, 0x1234'0000 | kTarget, OperandSize::k16, kNext);
  CHECK(Diff(guest.state, expected) == "");

  const auto jump = [&](uint16_t selector, uint32_t offset = kTarget) {
    FarJump(guest.cpu, selector, offset, OperandSize::k32, kNext);
  };
  CHECK_FAULT(guest, Gp(), jump(0));
  CHECK_FAULT(guest, Gp(kBeyondGdt), jump(kBeyondGdt));
  CHECK_FAULT(guest, Gp(kKernelData), jump(kKernelData));
  CHECK_FAULT(guest, Gp(kUserCode), jump(kUserCode | 3));
  CHECK_FAULT(guest, Gp(kKernelCode), jump(kKernelCode | 1));
  CHECK_FAULT(guest, Gp(kSelLdt), jump(kSelLdt));
  CHECK_FAULT(guest, Fault(Vector::kSegmentNotPresent, kAbsentCode), jump(kAbsentCode));
  CHECK_FAULT(guest, Gp(), jump(kSmallCode, 0x1000));
  guest.EnterUser();
  CHECK_FAULT(guest, Gp(kKernelCode), jump(kKernelCode));
  jump(kConformingCode);  // still at CPL 3
  CHECK(guest.state.Segment(Seg::kCs) == guest.Loaded(kConformingCode | 3));
  CHECK(guest.state.cpl == 3);
}

TEST_CASE("far transfers in real and V86 mode") {
  Guest guest;
  guest.EnterRealMode();
  CpuState expected = guest.state;
  FarCall(guest.cpu, 0x600, 0x1'0020, OperandSize::k16, 0x15);
  expected.Segment(Seg::kCs).selector = 0x600;
  expected.Segment(Seg::kCs).base = 0x6000;
  expected.eip = 0x20;
  expected.gpr[kEsp] = 0xFC;
  CHECK(Diff(guest.state, expected) == "");
  CHECK(guest.Words(0x90FC, 2) == Values{0x15, 0x700});
  FarReturn(guest.cpu, OperandSize::k16, 6);
  expected.Segment(Seg::kCs).selector = 0x700;
  expected.Segment(Seg::kCs).base = 0x7000;
  expected.eip = 0x15;
  expected.gpr[kEsp] = 0x106;
  CHECK(Diff(guest.state, expected) == "");
  CHECK_FAULT(guest, Gp(), FarJump(guest.cpu, 0x600, 0x1'0000, OperandSize::k32, 0));
  guest.state.gpr[kEsp] = 1;
  CHECK_FAULT(guest, Fault(Vector::kStackFault, 0), FarCall(guest.cpu, 0x600, 0, OperandSize::k16, 0));
  Guest v86;
  v86.EnterV86(0);
  FarJump(v86.cpu, 0xFFFF, 5, OperandSize::k16, 0);
  CHECK(v86.state.Segment(Seg::kCs) == SegmentRegister{0xFFFF, 0xFB, 0xFFFF0, 0xFFFF});
}

TEST_CASE("far call and return at one level") {
  Guest guest;
  const CpuState start = guest.state;
  CpuState expected = start;
  FarCall(guest.cpu, kConformingCode, kTarget, OperandSize::k32, kNext);
  expected.Segment(Seg::kCs) = guest.Loaded(kConformingCode);
  expected.eip = kTarget;
  expected.gpr[kEsp] = kKernelStack - 8;
  CHECK(Diff(guest.state, expected) == "");
  CHECK(guest.Dwords(kKernelStack - 8, 2) == Values{kNext, kKernelCode});
  FarReturn(guest.cpu, OperandSize::k32, 4);
  expected = start;
  expected.eip = kNext;
  expected.gpr[kEsp] = kKernelStack + 4;
  CHECK(Diff(guest.state, expected) == "");

  guest.state.Segment(Seg::kSs) = guest.Loaded(kSmallStack);
  guest.state.gpr[kEsp] = 0x12;
  CHECK_FAULT(guest, Fault(Vector::kStackFault, 0), FarCall(guest.cpu, kKernelCode, 0, OperandSize::k32, kNext));
  CHECK_FAULT(guest, Fault(Vector::kStackFault, 0), FarReturn(guest.cpu, OperandSize::k32, 0));
}

TEST_CASE("call gate to an inner level copies parameters and switches stacks") {
  for (bool wide : {true, false}) {
    Guest guest;
    guest.EnterUser();
    guest.SetGdt(kCallGate, MakeGate(kKernelCode | 3, kTarget, wide ? 12 : 4, 3, 2));
    guest.state.gpr[kEsp] = kUserStack - 16;
    if (wide) {
      guest.Poke<uint32_t>(kUserStack - 16, 0x1111'1111);
      guest.Poke<uint32_t>(kUserStack - 12, 0x2222'2222);
    } else {
      guest.Poke<uint16_t>(kUserStack - 16, 0x1111);
      guest.Poke<uint16_t>(kUserStack - 14, 0x2222);
    }
    const CpuState start = guest.state;
    CpuState expected = start;
    FarCall(guest.cpu, kCallGate | 3, 0xDEAD'BEEF, OperandSize::k32, kNext);
    expected.Segment(Seg::kCs) = guest.Loaded(kKernelCode);
    expected.Segment(Seg::kSs) = guest.Loaded(kKernelData);
    expected.eip = kTarget;
    expected.cpl = 0;
    expected.gpr[kEsp] = kKernelStack - (wide ? 24 : 12);
    CHECK(Diff(guest.state, expected) == "");
    if (wide) {
      CHECK(guest.Dwords(kKernelStack - 24, 6) ==
            Values{kNext, kUserCode | 3, 0x1111'1111, 0x2222'2222, kUserStack - 16, kUserData | 3});
    } else {
      CHECK(guest.Words(kKernelStack - 12, 6) ==
            Values{kNext, kUserCode | 3, 0x1111, 0x2222, kUserStack - 16, kUserData | 3});
    }
    LoadSegment(guest.cpu, Seg::kEs, kKernelData);  // must not leak to ring 3
    LoadSegment(guest.cpu, Seg::kFs, kConformingCode);
    FarReturn(guest.cpu, wide ? OperandSize::k32 : OperandSize::k16, wide ? 8 : 4);
    expected = start;
    expected.eip = kNext;
    expected.gpr[kEsp] = kUserStack - (wide ? 8 : 12);
    expected.Segment(Seg::kEs) = {};
    expected.Segment(Seg::kFs) = guest.Loaded(kConformingCode);
    CHECK(Diff(guest.state, expected) == "");
  }
}

TEST_CASE("call gate checks") {
  Guest guest;
  const auto call = [&](uint16_t rpl = 3) { FarCall(guest.cpu, kCallGate | rpl, 0, OperandSize::k32, kNext); };
  const auto jump = [&] { FarJump(guest.cpu, kCallGate, 0, OperandSize::k32, kNext); };
  guest.EnterUser();
  guest.SetGdt(kCallGate, MakeGate(kKernelCode, kTarget, 12, 2));
  CHECK_FAULT(guest, Gp(kCallGate), call());
  guest.SetGdt(kCallGate, MakeGate(kKernelCode, kTarget, 12, 3) & ~(uint64_t{0x80} << 40));
  CHECK_FAULT(guest, Fault(Vector::kSegmentNotPresent, kCallGate), call());
  guest.SetGdt(kCallGate, MakeGate(0, kTarget, 12, 3));
  CHECK_FAULT(guest, Gp(), call());
  guest.SetGdt(kCallGate, MakeGate(kBeyondGdt, kTarget, 12, 3));
  CHECK_FAULT(guest, Gp(kBeyondGdt), call());
  guest.SetGdt(kCallGate, MakeGate(kKernelData, kTarget, 12, 3));
  CHECK_FAULT(guest, Gp(kKernelData), call());
  guest.SetGdt(kCallGate, MakeGate(kAbsentCode, kTarget, 12, 3));
  CHECK_FAULT(guest, Fault(Vector::kSegmentNotPresent, kAbsentCode), call());
  guest.SetGdt(kCallGate, MakeGate(kSmallCode, 0x1000, 12, 3));
  CHECK_FAULT(guest, Gp(), call());
  guest.SetGdt(kCallGate, MakeGate(kKernelCode, kTarget, 12, 3));
  CHECK_FAULT(guest, Gp(kKernelCode), jump());  // JMP does not change privilege

  guest.Poke<uint16_t>(kTssA + 8, 0);
  CHECK_FAULT(guest, Fault(Vector::kInvalidTss, 0), call());
  guest.Poke<uint16_t>(kTssA + 8, kUserData);
  CHECK_FAULT(guest, Fault(Vector::kInvalidTss, kUserData), call());
  guest.Poke<uint16_t>(kTssA + 8, kAbsentData);
  CHECK_FAULT(guest, Fault(Vector::kStackFault, kAbsentData), call());
  guest.Poke<uint16_t>(kTssA + 8, kSmallStack);
  guest.Poke<uint32_t>(kTssA + 4, 0xC);
  CHECK_FAULT(guest, Fault(Vector::kStackFault, kSmallStack), call());
  guest.state.tr.limit = 8;
  CHECK_FAULT(guest, Fault(Vector::kInvalidTss, kSelTssA), call());
}

TEST_CASE("gates at one level: conforming target, and a jump") {
  Guest guest;
  guest.EnterUser();
  guest.SetGdt(kCallGate, MakeGate(kConformingCode, kTarget, 12, 3, 5));
  CpuState expected = guest.state;
  FarCall(guest.cpu, kCallGate, 0, OperandSize::k16, kNext);
  expected.Segment(Seg::kCs) = guest.Loaded(kConformingCode | 3);
  expected.eip = kTarget;
  expected.gpr[kEsp] = kUserStack - 8;
  CHECK(Diff(guest.state, expected) == "");
  CHECK(guest.Dwords(kUserStack - 8, 2) == Values{kNext, kUserCode | 3});
  guest.SetGdt(kCallGate, MakeGate(kUserCode, 0x1234'5678, 4, 3));
  FarJump(guest.cpu, kCallGate, 0, OperandSize::k32, kNext);
  expected.Segment(Seg::kCs) = guest.Loaded(kUserCode | 3);
  expected.eip = 0x5678;  // 16-bit gate
  CHECK(Diff(guest.state, expected) == "");
}

TEST_CASE("far return checks") {
  Guest guest;
  guest.state.gpr[kEsp] = kKernelStack - 16;
  const auto with = [&](Values frame) {
    for (unsigned i = 0; i < frame.size(); ++i) guest.Poke<uint32_t>(kKernelStack - 16 + i * 4, frame[i]);
    FarReturn(guest.cpu, OperandSize::k32, 0);
  };
  CHECK_FAULT(guest, Gp(), with({kTarget, 0}));
  CHECK_FAULT(guest, Gp(kBeyondGdt), with({kTarget, kBeyondGdt}));
  CHECK_FAULT(guest, Gp(kKernelData), with({kTarget, kKernelData}));
  CHECK_FAULT(guest, Gp(kUserCode), with({kTarget, kUserCode}));
  CHECK_FAULT(guest, Gp(kKernelCode), with({kTarget, kKernelCode | 3}));
  CHECK_FAULT(guest, Fault(Vector::kSegmentNotPresent, kAbsentCode), with({kTarget, kAbsentCode}));
  CHECK_FAULT(guest, Gp(), with({0x1000, kSmallCode}));
  CHECK_FAULT(guest, Gp(), with({kTarget, kUserCode | 3, kUserStack, 0}));
  CHECK_FAULT(guest, Gp(kUserData), with({kTarget, kUserCode | 3, kUserStack, kUserData}));
  CHECK_FAULT(guest, Gp(kKernelData), with({kTarget, kUserCode | 3, kUserStack, kKernelData | 3}));
  guest.EnterUser();
  guest.state.gpr[kEsp] = kKernelStack - 16;
  CHECK_FAULT(guest, Gp(kKernelCode), with({kTarget, kKernelCode}));
}

TEST_CASE("a return to more privilege is refused before the stack beyond its frame is looked at") {
  Guest guest;
  guest.EnterUser();
  SegmentRegister& ss = guest.state.Segment(Seg::kSs);
  guest.state.gpr[kEsp] = kUserStack - 12;
  for (const uint32_t value : {kTarget, uint32_t{kKernelCode}, 0u}) {
    guest.Poke<uint32_t>(guest.state.gpr[kEsp], value);
    guest.state.gpr[kEsp] += 4;
  }
  guest.state.gpr[kEsp] = kUserStack - 12;
  ss.limit = kUserStack - 1;
  CHECK_FAULT(guest, Gp(kKernelCode), FarReturn(guest.cpu, OperandSize::k32, 0x8000));
  CHECK_FAULT(guest, Gp(kKernelCode), InterruptReturn(guest.cpu, OperandSize::k32));
  ss.limit = kUserStack - 9;
  CHECK_FAULT(guest, Fault(Vector::kStackFault, 0), FarReturn(guest.cpu, OperandSize::k32, 0x8000));
}

TEST_CASE("a frame across the end of a 16-bit stack is outside its limit before it is on an absent page") {
  constexpr uint32_t kBase = 0x2'0000;
  Guest guest;
  guest.EnterUser();
  SegmentRegister& ss = guest.state.Segment(Seg::kSs);
  ss.base = kBase;
  ss.limit = 0xFFFF;
  ss.attributes &= static_cast<uint16_t>(~(segattr::kDb | segattr::kG));
  guest.EnablePaging({kBase + 0xF000});
  guest.state.gpr[kEsp] = 0xFFFB;
  CHECK_FAULT(guest, Fault(Vector::kStackFault, 0), FarReturn(guest.cpu, OperandSize::k32, 0));
  CHECK_FAULT(guest, Fault(Vector::kStackFault, 0), InterruptReturn(guest.cpu, OperandSize::k32));
  guest.state.gpr[kEsp] = 0xFFFC;
  CHECK_FAULT(guest, Fault(Vector::kPageFault, 4), FarReturn(guest.cpu, OperandSize::k32, 0));
}

}  // namespace ring3::test
