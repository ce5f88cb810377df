// Interrupt shadow, single stepping, software interrupts.
#include <catch2/catch.hpp>

#include "monitor/cpu/interrupts.h"
#include "tests/interpreter/machine.h"

using namespace ring3;

namespace {

constexpr uint32_t kHandler = 0x0020'0000;

void SetGate(Machine& m, unsigned vector) {
  m.Set<uint32_t>(Machine::kIdt + vector * 8, selectors::kCode0 << 16 | (kHandler & 0xFFFF));
  m.Set<uint32_t>(Machine::kIdt + vector * 8 + 4, (kHandler & 0xFFFF'0000) | 0xEE00);
}

/// What becomes of an instruction that begins with TF set.
enum class Stepped {
  kTraps,    // it completes, and #DB with BS comes after it
  kCarries,  // it completes, and the trap waits for the next instruction
  kEnters,   // it enters a handler with TF clear, and TF set in the image
  kFaults,   // no trap of its own
};

struct SteppedForm {
  const char* name;
  std::initializer_list<uint8_t> code;
  Stepped outcome;
  uint32_t eflags = 0;  // besides TF
};

const SteppedForm kSteppedForms[] = {
    {"nop", {0x90}, Stepped::kTraps},
    {"jmp", {0xEB, 0x10}, Stepped::kTraps},
    {"jz, not taken", {0x74, 0x10}, Stepped::kTraps},
    {"jz, taken", {0x74, 0x10}, Stepped::kTraps, eflags::kZf},
    {"rep stosb, not done", {0xF3, 0xAA}, Stepped::kTraps},
    {"popf", {0x9D}, Stepped::kTraps},  // of 0
    {"pushf", {0x9C}, Stepped::kTraps},
    {"cli", {0xFA}, Stepped::kTraps},
    {"sti", {0xFB}, Stepped::kTraps},
    {"hlt", {0xF4}, Stepped::kTraps},
    {"iret", {0xCF}, Stepped::kTraps},
    {"sysenter", {0x0F, 0x34}, Stepped::kTraps},
    {"sysexit", {0x0F, 0x35}, Stepped::kTraps},
    {"into, no overflow", {0xCE}, Stepped::kTraps},
    {"mov ss, eax", {0x8E, 0xD0}, Stepped::kCarries},
    {"lss esp, [ebx]", {0x0F, 0xB2, 0x23}, Stepped::kTraps},
    {"int 80h", {0xCD, 0x80}, Stepped::kEnters},
    {"int3", {0xCC}, Stepped::kEnters},
    {"int1", {0xF1}, Stepped::kEnters},
    {"into", {0xCE}, Stepped::kEnters, eflags::kOf},
    {"ud2", {0x0F, 0x0B}, Stepped::kFaults},
    {"bound", {0x62, 0x03}, Stepped::kFaults},
    {"div", {0xF6, 0xF1}, Stepped::kFaults},
};

void PrepareSteppedForm(Machine& m) {
  m.EnterFlat(0);
  for (const unsigned vector : {0x80u, 1u, 3u, 4u}) SetGate(m, vector);
  m.State().dr[6] = m.State().pending_debug = 0;
  m.State().sysenter_cs = selectors::kCode0;
  m.State().sysenter_esp = Machine::kStack + 0x800;
  m.Reg(kEax) = selectors::kData0;
  m.Reg(kEbx) = m.Reg(kEdi) = Machine::kData;
  m.Reg(kEcx) = 0x300;
  m.Reg(kEdx) = m.State().sysenter_eip = Machine::kCode + 0x100;
  m.Set<uint32_t>(Machine::kData, Machine::kStack + 0x400);  // LSS operand; BOUND's lower bound
  m.Set<uint32_t>(Machine::kData + 4, selectors::kData0);
  m.Set<uint32_t>(m.Reg(kEsp), 0);
  m.Set<uint32_t>(m.Reg(kEsp) + 4, selectors::kCode0);
  m.Set<uint32_t>(m.Reg(kEsp) + 8, eflags::kReserved1);
}

}  // namespace

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

TEST_CASE("single-stepping: which instructions trap, and what a handler finds") {
  for (const SteppedForm& form : kSteppedForms) {
    INFO(form.name);
    Machine m;
    PrepareSteppedForm(m);
    m.State().eflags |= eflags::kTf | form.eflags;
    m.Reg(kEcx) &= form.outcome == Stepped::kFaults ? 0 : ~0u;  // DIV by zero
    if (form.outcome == Stepped::kFaults) {
      CHECK_THROWS_AS(m.Step(form.code), GuestFault);
      CHECK(m.State().pending_debug == 0);
      CHECK(m.State().eflags & eflags::kTf);
      continue;
    }
    const bool trap = m.Step(form.code).debug_trap;
    CHECK(trap == (form.outcome == Stepped::kTraps));
    CHECK(m.State().pending_debug == (trap ? dr6::kBs : 0));
    if (form.outcome == Stepped::kEnters) {
      CHECK(m.State().eip == kHandler);
      CHECK_FALSE(m.State().eflags & eflags::kTf);
      CHECK(m.Get<uint32_t>(m.Reg(kEsp) + 8) & eflags::kTf);
      CHECK(m.State().dr[6] == 0);  // INT1 does not count as a step
    }
    if (form.outcome == Stepped::kCarries) {
      CHECK(m.Step({0x90}).debug_trap);
      CHECK(m.State().pending_debug == dr6::kBs);
    }
    if (!trap) continue;
    const uint32_t next = m.State().eip;
    DeliverFault(m.cpu, {Vector::kDebug, std::nullopt});
    CHECK(m.State().dr[6] == dr6::kBs);
    CHECK(m.Get<uint32_t>(m.Reg(kEsp)) == next);
    CHECK_FALSE(m.State().halted);
    CHECK_FALSE(m.State().eflags & eflags::kTf);
  }
}

TEST_CASE("single-stepping from V86 and real mode") {
  for (const bool v86 : {false, true}) {
    INFO("V86 " << v86);
    Machine m;
    m.EnterFlat(0);
    if (v86) {
      SetGate(m, 1);
      m.State().eflags |= eflags::kVm;
      m.State().cpl = 3;
      for (SegmentRegister& s : m.State().seg)
        s = {.selector = 0x1000, .attributes = 0xF3, .base = 0x10000, .limit = 0xFFFF};
    } else {
      m.EnterReal(0x1000, 0);
      m.Set<uint32_t>(4, 0x3000'0010);
    }
    m.State().eip = 0x100;
    m.Reg(kEsp) = 0x800;
    m.State().eflags |= eflags::kTf;
    REQUIRE(m.Step({0x40}).debug_trap);
    DeliverFault(m.cpu, {Vector::kDebug, std::nullopt});
    CHECK(m.State().eip == (v86 ? kHandler : 0x10));
    CHECK(m.State().cpl == 0);
    CHECK_FALSE(m.State().eflags & eflags::kTf);
    CHECK((v86 ? m.Get<uint32_t>(m.Reg(kEsp)) : m.Get<uint16_t>(0x7FA)) == 0x101);
  }
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
