// Hardware breakpoints: which accesses they match, when the exception comes, and what DR6 says then.
#include <catch2/catch.hpp>

#include "monitor/cpu/interrupts.h"
#include "monitor/cpu/privileged.h"
#include "tests/interpreter/machine.h"

using namespace ring3;

namespace {

constexpr uint32_t kHandler = 0x0020'0000, kWatched = Machine::kData + 0x100;
constexpr unsigned kDebugVector = static_cast<unsigned>(Vector::kDebug);

struct Debugged : Machine {
  Debugged() {
    EnterFlat(0);
    SetGate(kDebugVector);
    constexpr uint16_t kAllMasked = 0x37F;
    std::memcpy(State().fxsave.data(), &kAllMasked, sizeof kAllMasked);
  }
  void SetGate(unsigned vector) {
    Set<uint32_t>(kIdt + vector * 8, selectors::kCode0 << 16 | (kHandler & 0xFFFF));
    Set<uint32_t>(kIdt + vector * 8 + 4, (kHandler & 0xFFFF'0000) | 0xEE00);
  }
  /// Globally enables breakpoint `number`; `bytes` as DR7.LEN would say it.
  void Arm(unsigned number, BreakpointKind kind, uint32_t address, unsigned bytes) {
    const uint32_t control = static_cast<uint32_t>(kind) | (bytes - 1) << 2;
    State().dr[number] = address;
    State().dr[7] |= 2u << (2 * number) | control << (16 + 4 * number);
    cpu.DebugRegistersChanged();
  }
  /// Runs one instruction and takes the trap it ends with. True if there was one.
  bool StepAndTrap(std::initializer_list<uint8_t> code) {
    const bool trap = Step(code).debug_trap;
    if (trap) DeliverFault(cpu, {Vector::kDebug, std::nullopt});
    return trap;
  }
  uint32_t Caught() const { return cpu.state.dr[6] & 0xE00F; }
  /// EIP, CS and EFLAGS that the handler at ring 0 finds.
  uint32_t SavedEip() { return Get<uint32_t>(Reg(kEsp)); }
  uint32_t SavedEflags() { return Get<uint32_t>(Reg(kEsp) + 8); }
};

struct AccessForm {
  const char* name;
  std::initializer_list<uint8_t> code;  // accesses [ebx], or the stack, which is there as well
  unsigned bytes;
  bool reads, writes;
};
const AccessForm kForms[] = {
    {"mov al, [ebx]", {0x8A, 0x03}, 1, true, false},
    {"mov ax, [ebx]", {0x66, 0x8B, 0x03}, 2, true, false},
    {"mov eax, [ebx]", {0x8B, 0x03}, 4, true, false},
    {"mov [ebx], al", {0x88, 0x03}, 1, false, true},
    {"mov [ebx], ax", {0x66, 0x89, 0x03}, 2, false, true},
    {"mov [ebx], eax", {0x89, 0x03}, 4, false, true},
    {"add [ebx], eax", {0x01, 0x03}, 4, true, true},
    {"cmp [ebx], eax", {0x39, 0x03}, 4, true, false},
    {"cmpxchg [ebx], ecx, unequal", {0x0F, 0xB1, 0x0B}, 4, true, true},
    {"bts [ebx], 1", {0x0F, 0xBA, 0x2B, 0x01}, 4, true, true},
    {"movq mm0, [ebx]", {0x0F, 0x6F, 0x03}, 8, true, false},
    {"movups [ebx], xmm0", {0x0F, 0x11, 0x03}, 16, false, true},
    {"fstp tword [ebx]", {0xDB, 0x3B}, 10, false, true},
    {"pop eax", {0x58}, 4, true, false},
    {"movsb", {0xA4}, 1, true, false},
};

}  // namespace

TEST_CASE("data breakpoints match each access that touches them, and no other") {
  Debugged m;
  for (const AccessForm& form : kForms) {
    for (const BreakpointKind kind : {BreakpointKind::kWrite, BreakpointKind::kAccess}) {
      for (const unsigned length : {1u, 2u, 4u}) {
        for (int distance = -17; distance <= 5; ++distance) {
          for (const unsigned skew : {0u, length - 1}) {  // low address bits below the length are ignored
            INFO(form.name << ", kind " << static_cast<int>(kind) << " of " << length << " bytes, at " << distance);
            m.EnterFlat(0);
            m.State().dr[7] = dr7::kFixedOnes;
            m.State().pending_debug = 0;
            m.Arm(2, kind, kWatched + skew, length);
            const uint32_t address = kWatched + static_cast<uint32_t>(distance);
            m.Reg(kEbx) = m.Reg(kEsi) = m.Reg(kEsp) = address;
            m.Reg(kEdi) = Machine::kData + 0x800;
            m.Reg(kEax) = 1;
            m.Set<uint32_t>(address, 0x5555'5555);
            bool touches = false;
            for (uint32_t i = 0; i < form.bytes; ++i)
              touches |= address + i >= kWatched && address + i < kWatched + length;
            const bool counts = form.writes || (form.reads && kind == BreakpointKind::kAccess);
            CHECK(m.Step(form.code).debug_trap == (touches && counts));
            CHECK(m.State().pending_debug == (touches && counts ? 1u << 2 : 0));
          }
        }
      }
    }
  }
}

TEST_CASE("a data breakpoint traps after the instruction; DR6 forgets the breakpoints met before") {
  Debugged m;
  m.Arm(0, BreakpointKind::kWrite, kWatched, 4);
  m.Arm(1, BreakpointKind::kWrite, kWatched + 2, 2);
  m.Arm(3, BreakpointKind::kWrite, kWatched + 4, 4);
  m.State().dr[6] = dr6::kFixedOnes | dr6::kBd | 8;
  m.Reg(kEbx) = kWatched;
  m.Reg(kEax) = 77;
  REQUIRE(m.StepAndTrap({0x89, 0x03}));
  CHECK(m.Get<uint32_t>(kWatched) == 77);
  CHECK(m.State().eip == kHandler);
  CHECK(m.SavedEip() == Machine::kCode + 2);
  CHECK_FALSE(m.SavedEflags() & eflags::kRf);
  CHECK(m.Caught() == (dr6::kBd | 3));  // BD stays, as software has to clear it
  CHECK_FALSE(m.StepAndTrap({0x90}));
}

TEST_CASE("an instruction that faults doesn't trap for what it has read") {
  Debugged m;
  m.SetGate(0);
  m.Arm(0, BreakpointKind::kAccess, kWatched, 4);
  m.Reg(kEbx) = kWatched;
  m.Set<uint32_t>(kWatched, 0);
  CHECK(FaultOf([&] { m.Step({0xF7, 0x33}); }).vector == Vector::kDivideError);
  DeliverFault(m.cpu, {Vector::kDivideError, std::nullopt});
  CHECK_FALSE(m.StepAndTrap({0x90}));
}

TEST_CASE("an instruction breakpoint faults before its instruction, once") {
  Debugged m;
  m.Arm(1, BreakpointKind::kExecute, Machine::kCode + 1, 1);
  m.Reg(kEax) = 5;
  m.Put(Machine::kCode, {0x90, 0x40, 0x40});  // nop; inc eax; inc eax
  CHECK_FALSE(StepInstruction(m.cpu).debug_trap);
  const GuestFault fault = FaultOf([&] { StepInstruction(m.cpu); });
  CHECK(fault.vector == Vector::kDebug);
  DeliverFault(m.cpu, fault);
  CHECK(m.Reg(kEax) == 5);
  CHECK(m.SavedEip() == Machine::kCode + 1);
  CHECK_FALSE(m.SavedEflags() & eflags::kRf);
  CHECK(m.Caught() == 2);
  // The handler sets RF in the image, and IRET loads it: for one instruction.
  m.Set<uint32_t>(m.Reg(kEsp) + 8, m.SavedEflags() | eflags::kRf);
  m.Step({0xCF});
  CHECK(m.State().eip == Machine::kCode + 1);
  CHECK(m.State().eflags & eflags::kRf);
  CHECK_NOTHROW(StepInstruction(m.cpu));
  CHECK(m.Reg(kEax) == 6);
  CHECK_FALSE(m.State().eflags & eflags::kRf);
  m.State().eip = Machine::kCode + 1;
  CHECK(FaultOf([&] { StepInstruction(m.cpu); }).vector == Vector::kDebug);
  m.State().eip = Machine::kCode;
  m.Put(Machine::kCode, {0x66, 0x40});  // the breakpoint is inside the instruction
  CHECK_NOTHROW(StepInstruction(m.cpu));
}

TEST_CASE("an instruction breakpoint comes before a fault of the fetch, and RF lets a faulting instruction through") {
  Debugged m;
  m.State().eip = 0xF000'0000;  // no memory
  m.Arm(0, BreakpointKind::kExecute, 0xF000'0000, 1);
  m.EnablePaging();
  CHECK(FaultOf([&] { StepInstruction(m.cpu); }).vector == Vector::kDebug);
  m.State().eflags |= eflags::kRf;
  CHECK(FaultOf([&] { StepInstruction(m.cpu); }).vector == Vector::kPageFault);
  CHECK(m.State().eflags & eflags::kRf);
}

TEST_CASE("a breakpoint that is not enabled never matches") {
  Debugged m;
  m.Arm(0, BreakpointKind::kExecute, Machine::kCode, 1);
  m.Arm(1, BreakpointKind::kWrite, kWatched, 4);
  m.State().dr[7] &= ~0xFFu;
  m.cpu.DebugRegistersChanged();
  m.Reg(kEbx) = kWatched;
  CHECK_FALSE(m.StepAndTrap({0x89, 0x03}));
}

TEST_CASE("MOV SS and POP SS hold off debug exceptions until the next instruction is done") {
  Debugged m;
  const auto move_ss = {uint8_t{0x8E}, uint8_t{0x13}};  // mov ss, [ebx]
  m.Reg(kEbx) = kWatched;
  m.Set<uint16_t>(kWatched, selectors::kData0);
  m.Arm(0, BreakpointKind::kAccess, kWatched, 2);
  m.Arm(1, BreakpointKind::kExecute, Machine::kCode + 2, 1);
  m.State().eflags |= eflags::kTf;
  CHECK_FALSE(m.StepAndTrap(move_ss));
  REQUIRE(m.StepAndTrap({0x90}));  // its instruction breakpoint is suppressed
  CHECK(m.Caught() == (1 | dr6::kBs));
  CHECK(m.SavedEip() == Machine::kCode + 3);
  // A software interrupt in the shadow: the trap comes when its handler is entered.
  m.EnterFlat(0);
  m.State().dr[6] = 0;
  m.Reg(kEbx) = kWatched;
  m.SetGate(0x80);
  CHECK_FALSE(m.StepAndTrap(move_ss));
  REQUIRE(m.StepAndTrap({0xCD, 0x80}));
  CHECK(m.Caught() == 1);
  CHECK(m.SavedEip() == kHandler);
  // INT1 in the shadow is a debug exception itself: the handler is entered once.
  m.EnterFlat(0);
  m.State().dr[6] = 0;
  m.Reg(kEbx) = kWatched;
  m.Put(kHandler, {0x90});
  CHECK_FALSE(m.StepAndTrap(move_ss));
  CHECK_FALSE(m.StepAndTrap({0xF1}));
  CHECK(m.State().eip == kHandler);
  CHECK(m.SavedEip() == Machine::kCode + 3);
  CHECK(m.Caught() == 1);
  CHECK_FALSE(StepInstruction(m.cpu).debug_trap);
  // Only the first of a sequence holds off.
  m.EnterFlat(0);
  m.Reg(kEbx) = kWatched;
  CHECK_FALSE(m.StepAndTrap(move_ss));
  CHECK(m.StepAndTrap(move_ss));
}

TEST_CASE("repeated string instructions trap after the iteration that met the breakpoint") {
  Debugged m;
  m.Arm(0, BreakpointKind::kWrite, kWatched + 3, 1);
  m.Reg(kEdi) = kWatched;
  m.Reg(kEcx) = 8;
  m.Reg(kEax) = 0x55;
  REQUIRE(m.StepAndTrap({0xF3, 0xAA}));  // rep stosb
  CHECK(m.Reg(kEcx) == 4);
  CHECK(m.Reg(kEdi) == kWatched + 4);
  CHECK(m.SavedEip() == Machine::kCode);
  CHECK(m.SavedEflags() & eflags::kRf);  // between iterations
  m.Put(kHandler, {0xCF});
  CHECK_FALSE(StepInstruction(m.cpu).debug_trap);
  CHECK_FALSE(m.StepAndTrap({0xF3, 0xAA}));
  CHECK(m.Reg(kEcx) == 0);
  // After the last iteration the instruction is complete.
  m.EnterFlat(0);
  m.Reg(kEdi) = kWatched;
  m.Reg(kEcx) = 4;
  REQUIRE(m.StepAndTrap({0xF3, 0xAA}));
  CHECK(m.SavedEip() == Machine::kCode + 2);
  CHECK_FALSE(m.SavedEflags() & eflags::kRf);
}

TEST_CASE("I/O breakpoints match ports, with CR4.DE only") {
  struct Row {
    std::initializer_list<uint8_t> code;
    uint16_t port;
    bool hit;
  };
  for (const bool extensions : {false, true}) {
    for (const Row& row : {Row{{0xEE}, 0x300, true}, Row{{0xEE}, 0x301, true}, Row{{0xEE}, 0x302, false},
                           Row{{0xEF}, 0x2FD, true}, Row{{0xEF}, 0x2FC, false}, Row{{0xEC}, 0x301, true},
                           Row{{0x66, 0xED}, 0x2FF, true}, Row{{0x66, 0xED}, 0x2FE, false}}) {
      INFO("port " << row.port << ", DE " << extensions);
      Debugged m;
      m.State().cr4 |= extensions ? cr4::kDe : 0;
      m.Arm(1, BreakpointKind::kIo, 0x300, 2);
      m.Reg(kEdx) = row.port;
      CHECK(m.StepAndTrap(row.code) == (row.hit && extensions));
      CHECK(m.Caught() == (row.hit && extensions ? 2u : 0));
    }
  }
  Debugged m;
  m.State().cr4 |= cr4::kDe;
  m.Arm(0, BreakpointKind::kIo, 0x300, 1);
  m.Reg(kEdx) = 0x300;
  m.Reg(kEsi) = kWatched;
  m.Reg(kEcx) = 3;
  CHECK(m.StepAndTrap({0xF3, 0x6E}));  // rep outsb: after each iteration
  CHECK(m.Reg(kEcx) == 2);
  CHECK(m.SavedEip() == Machine::kCode);
}

TEST_CASE("delivering an event onto a watched stack traps when its handler is entered") {
  Debugged m;
  m.SetGate(0x20);
  m.Arm(3, BreakpointKind::kWrite, m.Reg(kEsp) - 4, 4);
  DeliverExternalInterrupt(m.cpu, 0x20);
  CHECK(m.State().DebugTrapDue());
  m.State().dr[7] = dr7::kFixedOnes;
  m.cpu.DebugRegistersChanged();
  DeliverFault(m.cpu, {Vector::kDebug, std::nullopt});
  CHECK(m.Caught() == 8);
  CHECK(m.SavedEip() == kHandler);
  CHECK_FALSE(m.State().DebugTrapDue());
}

TEST_CASE("BTF: TF traps after branches only, until the next debug exception") {
  Debugged m;
  m.State().eflags |= eflags::kTf;
  WriteMsr(m.cpu, 0x1D9, 2);
  CHECK_FALSE(m.StepAndTrap({0x90}));
  m.State().eflags &= ~eflags::kZf;
  CHECK_FALSE(m.StepAndTrap({0x74, 0x10}));  // jz, not taken
  m.Reg(kEcx) = 3;
  m.Reg(kEdi) = kWatched;
  CHECK_FALSE(m.StepAndTrap({0xF3, 0xAA}));  // not a branch, though EIP stays
  CHECK(m.StepAndTrap({0xEB, 0x00}));
  CHECK(m.Caught() == dr6::kBs);
  CHECK(ReadMsr(m.cpu, 0x1D9) == 0);
}

TEST_CASE("the list of armed breakpoints follows the registers") {
  struct Listener : BreakpointListener {
    std::vector<Breakpoint> armed;
    unsigned changes = 0;
    void BreakpointsChanged(std::span<const Breakpoint> now) override {
      armed.assign(now.begin(), now.end());
      ++changes;
    }
  } listener;
  Machine m;
  m.EnterFlat(0);
  m.cpu.breakpoint_listener = &listener;
  WriteDebug(m.cpu, 0, 0x1003);
  WriteDebug(m.cpu, 3, 0x2222);
  CHECK(listener.changes == 0);
  WriteDebug(m.cpu, 7, 2u << 0 | 0xDu << 16);  // G0: write, 4 bytes
  CHECK(listener.armed == std::vector{Breakpoint{BreakpointKind::kWrite, 0, 0x1000, 4}});
  WriteDebug(m.cpu, 7, 1u << 6 | 2u << 28);  // L3: I/O
  CHECK(listener.armed.empty());
  const uint64_t generation = m.cpu.breakpoints.Generation();
  WriteControl(m.cpu, 4, cr4::kDe);
  CHECK(listener.armed == std::vector{Breakpoint{BreakpointKind::kIo, 3, 0x2222, 1}});
  CHECK(m.cpu.breakpoints.Generation() == generation + 1);
  WriteDebug(m.cpu, 3, 0x2223);
  CHECK(listener.armed == std::vector{Breakpoint{BreakpointKind::kIo, 3, 0x2223, 1}});
  WriteDebug(m.cpu, 2, 0x9999);
  CHECK(listener.changes == 4);
}
