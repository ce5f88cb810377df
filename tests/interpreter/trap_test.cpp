// Interrupt shadow, single stepping, software interrupts.
#include <catch2/catch.hpp>

#include "tests/interpreter/machine.h"

using namespace ring3;

TEST_CASE("STI, MOV SS and POP SS hold off interrupts for one instruction") {
  Machine m;
  m.EnterFlat(0);
  m.State().eflags &= ~eflags::kIf;
  m.Step({0xFB});
  CHECK(m.State().interrupt_shadow);
  m.Step({0x90});
  CHECK_FALSE(m.State().interrupt_shadow);
  m.Step({0xFB});  // IF was set already
  CHECK_FALSE(m.State().interrupt_shadow);
  m.Reg(kEax) = selectors::kData0;
  m.Step({0x8E, 0xD0});
  CHECK(m.State().interrupt_shadow);
  m.Step({0x16});
  CHECK_FALSE(m.State().interrupt_shadow);
  m.Step({0x17});
  CHECK(m.State().interrupt_shadow);
}

TEST_CASE("TF traps after the instruction, with DR6.BS") {
  Machine m;
  m.EnterFlat(0);
  m.State().eflags |= eflags::kTf;
  m.State().dr[6] = 0;
  CHECK(m.Step({0x40}).debug_trap);
  CHECK(m.Reg(kEax) == 1);
  CHECK(m.State().pending_debug == 1u << 14);
  m.State().pending_debug = 0;
  m.Reg(kEax) = selectors::kData0;
  CHECK_FALSE(m.Step({0x8E, 0xD0}).debug_trap);
  const uint32_t esp = m.Reg(kEsp);
  m.Set<uint32_t>(esp, eflags::kReserved1);
  CHECK(m.Step({0x9D}).debug_trap);  // POPF that clears TF still traps
  m.State().pending_debug = 0;
  m.Reg(kEsp) = esp;
  m.Set<uint32_t>(esp, eflags::kReserved1 | eflags::kTf);
  CHECK_FALSE(m.Step({0x9D}).debug_trap);  // and one that sets it doesn't yet
  CHECK(m.Step({0x90}).debug_trap);
}

TEST_CASE("a fault doesn't trap and keeps RF; a completed instruction clears it") {
  Machine m;
  m.EnterFlat(3);
  m.State().eflags |= eflags::kTf | eflags::kRf;
  m.State().dr[6] = 0;
  CHECK(FaultOf([&] { m.Step({0xF4}); }).vector == Vector::kGeneralProtection);
  CHECK(m.State().dr[6] == 0);
  CHECK(m.State().eflags & eflags::kRf);
  m.Step({0x90});
  CHECK_FALSE(m.State().eflags & eflags::kRf);
}

TEST_CASE("software interrupts go through the IDT") {
  Machine m;
  m.EnterFlat(3);
  const uint32_t handler = 0x0020'0000;
  m.Set<uint32_t>(Machine::kIdt + 0x80 * 8, selectors::kCode0 << 16 | (handler & 0xFFFF));
  m.Set<uint32_t>(Machine::kIdt + 0x80 * 8 + 4, (handler & 0xFFFF'0000) | 0xEE00);
  const uint32_t esp = m.Reg(kEsp);
  m.Step({0xCD, 0x80});
  CHECK(m.State().cpl == 0);
  CHECK(m.State().eip == handler);
  CHECK(m.Get<uint32_t>(m.Reg(kEsp)) == Machine::kCode + 2);
  CHECK(m.Get<uint32_t>(m.Reg(kEsp) + 12) == esp);
  m.Step({0xCF});
  CHECK(m.State().cpl == 3);
  CHECK(m.State().eip == Machine::kCode + 2);
  CHECK(m.Reg(kEsp) == esp);
  // A gate that CPL 3 may not use: #GP names it.
  m.Set<uint32_t>(Machine::kIdt + 0x81 * 8 + 4, 0x8E00);
  const GuestFault fault = FaultOf([&] { m.Step({0xCD, 0x81}); });
  CHECK(fault.vector == Vector::kGeneralProtection);
  CHECK(fault.error_code == 0x81u * 8 + 2);
  CHECK(m.State().eip == Machine::kCode + 2);
  m.State().eflags &= ~eflags::kOf;
  m.Step({0xCE});
  CHECK(m.State().eip == Machine::kCode + 3);
}
