// System instructions: privilege checks, segment loads, descriptor-table registers, ports.
#include <catch2/catch.hpp>

#include "tests/interpreter/machine.h"

using namespace ring3;

TEST_CASE("privileged instructions fault at CPL 3 and leave the state") {
  Machine m;
  m.EnterFlat(3);
  const auto gpr = m.State().gpr;
  for (auto code : {std::initializer_list<uint8_t>{0xF4},
                    {0xFA},
                    {0xFB},
                    {0x0F, 0x20, 0xC0},
                    {0x0F, 0x22, 0xD8},
                    {0x0F, 0x21, 0xC0},
                    {0x0F, 0x23, 0xC0},
                    {0x0F, 0x30},
                    {0x0F, 0x32},
                    {0x0F, 0x06},
                    {0x0F, 0x08},
                    {0x0F, 0x09},
                    {0x0F, 0x01, 0x38},
                    {0x0F, 0x01, 0x10},
                    {0x0F, 0x01, 0x18},
                    {0x0F, 0x01, 0xF0},
                    {0x0F, 0x00, 0xD0},
                    {0x0F, 0x00, 0xD8},
                    {0xE4, 0x60},
                    {0xEE},
                    {0x6C},
                    {0x6E},
                    {0x0F, 0x35}}) {
    const GuestFault fault = FaultOf([&] { m.Step(code); });
    CHECK(fault.vector == Vector::kGeneralProtection);
    CHECK(fault.error_code == 0u);
    CHECK(m.State().eip == Machine::kCode);
    CHECK(m.State().gpr == gpr);
  }
}

TEST_CASE("control, debug and table registers at CPL 0") {
  Machine m;
  m.EnterFlat(0);
  m.Step({0x0F, 0x20, 0xC4});  // mov esp, cr0: ESP is an ordinary register here
  CHECK(m.Reg(kEsp) == m.State().cr0);
  m.Reg(kEax) = 0x1234'5000;
  m.Step({0x0F, 0x22, 0xD8});  // mov cr3, eax
  CHECK(m.State().cr3 == 0x1234'5000);
  m.Set<uint16_t>(Machine::kData, 0x3FF);
  m.Set<uint32_t>(Machine::kData + 2, 0xABCD'EF00);
  m.Reg(kEbx) = Machine::kData;
  m.Step({0x0F, 0x01, 0x1B});  // lidt
  CHECK(m.State().idtr.limit == 0x3FF);
  CHECK(m.State().idtr.base == 0xABCD'EF00);
  m.Step({0x66, 0x0F, 0x01, 0x1B});
  CHECK(m.State().idtr.base == 0x00CD'EF00);
  m.Step({0x0F, 0x01, 0x43, 0x08});  // sgdt
  CHECK(m.Get<uint32_t>(Machine::kData + 10) == Machine::kGdt);
  CHECK(FaultOf([&] { m.Step({0x0F, 0x20, 0xC8}); }).vector == Vector::kInvalidOpcode);        // cr1
  CHECK(FaultOf([&] { m.Step({0xF0, 0x0F, 0x20, 0xC0}); }).vector == Vector::kInvalidOpcode);  // lock
  m.State().cr0 |= cr0::kTs;
  m.Step({0x0F, 0x06});
  CHECK_FALSE(m.State().cr0 & cr0::kTs);
}

TEST_CASE("segment registers") {
  Machine m;
  m.EnterFlat(3);
  m.Reg(kEax) = 0xFFFF'0000u | selectors::kSmall;
  m.Step({0x8E, 0xE0});  // mov fs, ax
  CHECK(m.State().Segment(Seg::kFs).base == Machine::kData);
  m.Step({0x8C, 0xE1});  // mov ecx, fs
  CHECK(m.Reg(kEcx) == selectors::kSmall);
  m.Step({0x0F, 0xA0});  // push fs
  m.Step({0x07});        // pop es
  CHECK(m.State().Segment(Seg::kEs).selector == selectors::kSmall);
  m.Set<uint32_t>(Machine::kData, 0x1122'3344);
  m.Set<uint16_t>(Machine::kData + 4, selectors::kData3);
  m.Reg(kEbx) = Machine::kData;
  m.Step({0xC4, 0x33});  // les esi, [ebx]
  CHECK(m.Reg(kEsi) == 0x1122'3344);
  CHECK(m.State().Segment(Seg::kEs).selector == selectors::kData3);
  m.Set<uint16_t>(Machine::kData + 4, 0xF8);  // an empty descriptor
  m.Reg(kEsi) = 1;
  CHECK(FaultOf([&] { m.Step({0xC4, 0x33}); }).vector == Vector::kGeneralProtection);
  CHECK(m.Reg(kEsi) == 1);
  CHECK(FaultOf([&] { m.Step({0x8E, 0xC8}); }).vector == Vector::kInvalidOpcode);  // mov cs
  m.Reg(kEax) = selectors::kReadOnly;
  m.Step({0x0F, 0x00, 0xE8});  // verw ax
  CHECK_FALSE(m.State().eflags & eflags::kZf);
  m.Step({0x0F, 0x00, 0xE0});  // verr ax
  CHECK(m.State().eflags & eflags::kZf);
  m.Step({0x0F, 0x03, 0xD0});  // lsl edx, eax
  CHECK(m.Reg(kEdx) == 0xFFFF'FFFF);
  m.Reg(kEdx) = 2;
  m.Reg(kEcx) = 3;
  m.Step({0x63, 0xCA});  // arpl dx, cx
  CHECK(m.Reg(kEdx) == 3);
  CHECK(m.State().eflags & eflags::kZf);
}

TEST_CASE("a pop that cannot load its segment keeps ESP") {
  Machine m;
  m.EnterFlat(3);
  const uint32_t esp = m.Reg(kEsp);
  m.Set<uint32_t>(esp, 0xF8);
  CHECK(FaultOf([&] { m.Step({0x1F}); }).vector == Vector::kGeneralProtection);
  CHECK(m.Reg(kEsp) == esp);
}

TEST_CASE("ports, cpuid, tsc, flags") {
  Machine m;
  m.EnterFlat(0);
  m.Reg(kEax) = 0x1234'5678;
  m.Step({0xE4, 0x80});  // nothing answers
  CHECK(m.Reg(kEax) == 0x1234'56FF);
  m.Reg(kEax) = m.Reg(kEcx) = 0;
  m.Step({0x0F, 0xA2});
  CHECK(m.Reg(kEax) == m.cpu.model.Cpuid(0, 0).eax);
  m.Step({0x0F, 0x31});
  const uint64_t first = uint64_t{m.Reg(kEdx)} << 32 | m.Reg(kEax);
  m.Step({0x0F, 0x31});
  CHECK((uint64_t{m.Reg(kEdx)} << 32 | m.Reg(kEax)) > first);
  m.Step({0x9C});
  CHECK(m.Get<uint32_t>(m.Reg(kEsp)) == m.State().eflags);
  m.Set<uint32_t>(m.Reg(kEsp), eflags::kReserved1 | eflags::kDf | eflags::kCf);
  m.Step({0x9D});
  CHECK(m.State().eflags == (eflags::kReserved1 | eflags::kDf | eflags::kCf));
  CHECK(m.Step({0xF4}).halted);
  CHECK(m.State().halted);
}

TEST_CASE("bound and enter") {
  Machine m;
  m.EnterFlat(3);
  m.Reg(kEbx) = Machine::kData;
  m.Set<int32_t>(Machine::kData, -5);
  m.Set<int32_t>(Machine::kData + 4, 5);
  m.Reg(kEax) = static_cast<uint32_t>(-5);
  CHECK_NOTHROW(m.Step({0x62, 0x03}));
  m.Reg(kEax) = 6;
  CHECK(FaultOf([&] { m.Step({0x62, 0x03}); }).vector == Vector::kBoundRange);
  const uint32_t esp = m.Reg(kEsp);
  m.Reg(kEbp) = 0x1111;
  m.Step({0xC8, 0x10, 0x00, 0x00});
  CHECK(m.Reg(kEbp) == esp - 4);
  CHECK(m.Reg(kEsp) == esp - 4 - 0x10);
  CHECK(m.Get<uint32_t>(esp - 4) == 0x1111);
}
