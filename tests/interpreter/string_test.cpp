// REP: faults mid-way, chunks, MMIO, ports, 16-bit addresses.
#include <catch2/catch.hpp>

#include "tests/interpreter/machine.h"

using namespace ring3;

namespace {

struct Recorder : MmioDevice, PortDevice {
  std::vector<std::pair<unsigned, uint64_t>> writes;
  uint32_t next = 0x10;
  uint64_t ReadMmio(GuestPhysical, unsigned) override { return next++; }
  void WriteMmio(GuestPhysical, unsigned size, uint64_t value) override { writes.push_back({size, value}); }
  uint32_t ReadPort(uint16_t, unsigned) override { return next++; }
  void WritePort(uint16_t, unsigned size, uint32_t value) override { writes.push_back({size, value}); }
};

}  // namespace

TEST_CASE("rep movs stops at a page fault after whole iterations") {
  Machine m;
  m.EnterFlat(3);
  m.EnablePaging();
  const uint32_t edge = Machine::kData + 0x1000;
  m.MapPage(edge, 5);
  m.Reg(kEsi) = Machine::kStack;
  m.Reg(kEdi) = edge - 10;
  m.Reg(kEcx) = 8;
  const GuestFault fault = FaultOf([&] { m.Step({0xF3, 0xA5}); });
  CHECK(fault.vector == Vector::kPageFault);
  CHECK(fault.cr2 == edge);
  CHECK(m.Reg(kEcx) == 6);
  CHECK(m.Reg(kEdi) == edge - 2);
  CHECK(m.Reg(kEsi) == Machine::kStack + 8);
  CHECK(m.State().eip == Machine::kCode);
  m.MapPage(edge, 7);
  StepInstruction(m.cpu);
  CHECK(m.Reg(kEcx) == 0);
  CHECK(m.State().eip == Machine::kCode + 2);
}

TEST_CASE("a fault in repeated cmps leaves EFLAGS as at the start") {
  Machine m;
  m.EnterFlat(3);
  m.EnablePaging();
  const uint32_t edge = Machine::kData + 0x1000;
  m.MapPage(edge, 0);
  m.Reg(kEsi) = m.Reg(kEdi) = edge - 2;
  m.Reg(kEcx) = 5;
  const uint32_t flags = m.State().eflags;
  CHECK(FaultOf([&] { m.Step({0xF3, 0xA6}); }).vector == Vector::kPageFault);
  CHECK(m.Reg(kEcx) == 3);
  CHECK(m.State().eflags == flags);
}

TEST_CASE("long repeats come back for interrupts") {
  Machine m;
  m.EnterFlat(3);
  m.Reg(kEdi) = Machine::kData;
  m.Reg(kEcx) = 5000;
  m.Reg(kEax) = 0xA5;
  CHECK(m.Step({0xF3, 0xAA}).rep_unfinished);
  CHECK(m.State().eip == Machine::kCode);
  CHECK(m.Reg(kEcx) == 5000 - 4096);
  CHECK_FALSE(StepInstruction(m.cpu).rep_unfinished);
  CHECK(m.State().eip == Machine::kCode + 2);
  for (unsigned i = 0; i < 5000; ++i) REQUIRE(m.Get<uint8_t>(Machine::kData + i) == 0xA5);
}

TEST_CASE("rep with 16-bit addresses uses CX, SI and DI and wraps") {
  Machine m;
  m.EnterReal(0x1000, 0);
  m.State().Segment(Seg::kEs).base = Machine::kData;
  m.Reg(kEax) = 0x77;
  m.Reg(kEcx) = 0xFFFF'0004;
  m.Reg(kEdi) = 0x1234'FFFE;
  m.Step({0xF3, 0xAA});
  CHECK(m.Reg(kEcx) == 0xFFFF'0000);
  CHECK(m.Reg(kEdi) == 0x1234'0002);
  CHECK(m.Get<uint8_t>(Machine::kData + 0xFFFF) == 0x77);
  CHECK(m.Get<uint8_t>(Machine::kData + 1) == 0x77);
}

TEST_CASE("TF traps after each iteration") {
  Machine m;
  m.EnterFlat(3);
  m.State().eflags |= eflags::kTf;
  m.Reg(kEdi) = Machine::kData;
  m.Reg(kEcx) = 2;
  StepResult result = m.Step({0xF3, 0xAA});
  CHECK(result.debug_trap);
  CHECK(result.rep_unfinished);
  CHECK(m.Reg(kEcx) == 1);
  result = StepInstruction(m.cpu);
  CHECK(result.debug_trap);
  CHECK(m.State().eip == Machine::kCode + 2);
}

TEST_CASE("MMIO operands are accessed once, at their size") {
  Machine m;
  Recorder device;
  m.physical_.AttachMmio(GuestPhysical(0xF000'0000), kPageSize, device);
  m.EnterFlat(3);
  m.Reg(kEbx) = 0xF000'0000;
  m.Reg(kEax) = 1;
  m.Step({0x01, 0x03});  // add [ebx], eax: reads 10h
  CHECK(device.writes == std::vector<std::pair<unsigned, uint64_t>>{{4, 0x11}});
  m.Step({0x66, 0x89, 0x03});
  CHECK(device.writes.back() == std::pair<unsigned, uint64_t>{2, 1});
  m.Step({0x0F, 0xB6, 0x0B});  // movzx ecx, byte [ebx]
  CHECK(m.Reg(kEcx) == 0x11);
  m.Reg(kEdi) = 0xF000'0000;
  m.Reg(kEcx) = 3;
  m.Step({0xF3, 0xAB});
  CHECK(device.writes.size() == 5);
  CHECK(device.next == 0x12);
}

TEST_CASE("string port instructions") {
  Machine m;
  Recorder device;
  m.ports_.Attach(0x300, 4, device, "recorder");
  m.EnterFlat(0);
  m.Reg(kEdx) = 0x300;
  m.Reg(kEdi) = Machine::kData;
  m.Reg(kEcx) = 3;
  m.Step({0xF3, 0x6C});
  CHECK(m.Get<uint16_t>(Machine::kData) == 0x1110);
  CHECK(m.Get<uint8_t>(Machine::kData + 2) == 0x12);
  m.Reg(kEsi) = Machine::kData;
  m.Step({0x66, 0x6F});  // outsw
  CHECK(device.writes == std::vector<std::pair<unsigned, uint64_t>>{{2, 0x1110}});
  CHECK(m.Reg(kEsi) == Machine::kData + 2);
}
