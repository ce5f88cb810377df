#include "sensitive.h"

#include "checks.h"
#include "console.h"
#include "descriptors.h"
#include "traps.h"

namespace demo {
namespace {

constexpr uint32_t kUnseen = 0xBAD;  // what a result register keeps where the CPU gives no result
constexpr uint32_t kLow16 = 0xFFFF;
constexpr uint32_t kRightsMask = 0x00F0FF00;  // LAR leaves bits 16-19 undefined

[[gnu::section(".user_data")]] uint8_t table_register[8] = {};

// What a probe is to show: one field of the frame, or a trap with its saved EIP.
struct Expectation {
  uint32_t vector = vector::kProbeDone;
  uint32_t error = 0;
  bool after = false;  // saved EIP is that of the next instruction
  uint32_t TrapFrame::*field = nullptr;
  uint32_t value = 0;
  uint32_t mask = ~0u;
};

Expectation Shows(uint32_t TrapFrame::*field, uint32_t value, uint32_t mask = ~0u) {
  return {.field = field, .value = value, .mask = mask};
}
Expectation Faults(uint32_t vector, uint32_t error) { return {.vector = vector, .error = error}; }
Expectation Interrupts(uint32_t vector) { return {.vector = vector, .after = true}; }

struct Row {
  Level level;
  const Probe& probe;
  Registers in;
  Expectation expect;
  const char* shown;
};

bool Holds(const Row& row, const ProbeResult& r) {
  const Expectation& e = row.expect;
  if (r.frame.vector != e.vector) return false;
  if (e.field != nullptr) return (r.frame.*e.field & e.mask) == (e.value & e.mask);
  return r.frame.error == e.error && r.frame.eip == AddressOf(e.after ? row.probe.next : row.probe.at);
}

void PrintSeen(const Row& row, const ProbeResult& r) {
  if (r.frame.vector == row.expect.vector && row.expect.field != nullptr) {
    Print("%x", r.frame.*row.expect.field & row.expect.mask);
  } else {
    Print("%s %x(%x)", VectorName(r.frame.vector), r.frame.vector, r.frame.error);
  }
}

void CheckRow(const Row& row) {
  ProbeResult r = Run(row.probe, row.level, row.in);
  bool holds = Holds(row, r);
  Count(holds);
  Print("  %s  CPL %u  %-35s %s: ", holds ? "ok     " : "DIFFERS", uint32_t(row.level), row.probe.text, row.shown);
  PrintSeen(row, r);
  if (!holds) {
    const Expectation& e = row.expect;
    if (e.field != nullptr)
      Print(", expected %x", e.value & e.mask);
    else
      Print(", expected %s %x(%x) EIP %s", VectorName(e.vector), e.vector, e.error, e.after ? "after it" : "at it");
  }
  Print("\n");
}

template <unsigned kRows>
void CheckRows(const Row (&rows)[kRows]) {
  for (const Row& row : rows) CheckRow(row);
}

constexpr auto kEax = &TrapFrame::eax;
constexpr auto kEbx = &TrapFrame::ebx;
constexpr auto kEcx = &TrapFrame::ecx;
constexpr auto kEdx = &TrapFrame::edx;
constexpr auto kEflags = &TrapFrame::eflags;

// --- System registers ---------------------------------------------------------------------------------------------

DEMO_PROBE(StoreGdt, "", "sgdt (%edi)", "mov 2(%edi), %eax; movzwl (%edi), %ecx");
DEMO_PROBE(StoreIdt, "", "sidt (%edi)", "mov 2(%edi), %eax; movzwl (%edi), %ecx");
DEMO_PROBE(StoreLdt, "", "sldt %eax", "");
DEMO_PROBE(StoreTask, "", "str %eax", "");
DEMO_PROBE(StoreStatusWord, "", "smsw %eax", "");

void CheckSystemRegisters(Level level) {
  const Registers memory{.edi = AddressOf(table_register)};
  const Row rows[] = {
      {level, StoreGdt, memory, Shows(kEax, GdtBase()), "base"},
      {level, StoreGdt, memory, Shows(kEcx, GdtLimit()), "limit"},
      {level, StoreIdt, memory, Shows(kEax, IdtBase()), "base"},
      {level, StoreIdt, memory, Shows(kEcx, IdtLimit()), "limit"},
      {level, StoreLdt, {}, Shows(kEax, DEMO_LDT, kLow16), "selector"},
      {level, StoreTask, {}, Shows(kEax, DEMO_TSS, kLow16), "selector"},
      {level, StoreStatusWord, {}, Shows(kEax, ReadCr0(), kLow16), "low half of CR0"},
  };
  CheckRows(rows);
}

// --- Looking at descriptors ---------------------------------------------------------------------------------------

// EDX takes the result only where ZF says there is one.
DEMO_PROBE(LoadRights, "", "lar %ecx, %eax", "jnz 1f; mov %eax, %edx; 1:");
DEMO_PROBE(LoadLimit, "", "lsl %ecx, %eax", "jnz 1f; mov %eax, %edx; 1:");
DEMO_PROBE(VerifyRead, "", "verr %cx", "setz %dl");
DEMO_PROBE(VerifyWrite, "", "verw %cx", "setz %dl");

Registers Looking(uint32_t selector) { return {.ecx = selector, .edx = kUnseen}; }
Registers Verifying(uint32_t selector) { return {.ecx = selector, .edx = 0}; }

void CheckRights() {
  constexpr Level k0 = Level::kKernel, k3 = Level::kUser;
  const Row rows[] = {
      {k0, LoadRights, Looking(DEMO_KERNEL_CODE), Shows(kEdx, 0x00C09B00, kRightsMask), "kernel code"},
      {k3, LoadRights, Looking(DEMO_KERNEL_CODE), Shows(kEdx, kUnseen), "kernel code, not to be seen"},
      {k3, LoadRights, Looking(DEMO_CONFORMING_CODE), Shows(kEdx, 0x00C09F00, kRightsMask), "conforming code"},
      {k3, LoadRights, Looking(DEMO_USER_DATA), Shows(kEdx, 0x00C0F300, kRightsMask), "user data"},
      {k3, LoadRights, Looking(DEMO_NOT_PRESENT), Shows(kEdx, 0x00C07300, kRightsMask), "absent data"},
      {k0, LoadRights, Looking(DEMO_TSS), Shows(kEdx, 0x00008B00, kRightsMask), "busy TSS"},
      {k3, LoadRights, Looking(DEMO_CALL_GATE), Shows(kEdx, 0x0000EC00, kLow16), "call gate"},
      {k0, LoadRights, Looking(0), Shows(kEdx, kUnseen), "null selector"},
      {k0, LoadLimit, Looking(DEMO_KERNEL_DATA), Shows(kEdx, ~0u), "kernel data, in bytes"},
      {k3, LoadLimit, Looking(DEMO_KERNEL_DATA), Shows(kEdx, kUnseen), "kernel data, not to be seen"},
      {k3, LoadLimit, Looking(DEMO_SMALL_READ_ONLY), Shows(kEdx, 0xFFF), "small segment"},
      {k0, LoadLimit, Looking(DEMO_CALL_GATE), Shows(kEdx, kUnseen), "a gate has none"},
      {k3, LoadLimit, Looking(DEMO_USER_CODE & ~3u), Shows(kEdx, ~0u), "user code, RPL 0"},
  };
  CheckRows(rows);
}

void CheckVerify() {
  constexpr Level k0 = Level::kKernel, k3 = Level::kUser;
  const Row rows[] = {
      {k0, VerifyRead, Verifying(DEMO_KERNEL_DATA), Shows(kEdx, 1), "kernel data"},
      {k3, VerifyRead, Verifying(DEMO_KERNEL_DATA), Shows(kEdx, 0), "kernel data"},
      {k0, VerifyRead, Verifying(DEMO_KERNEL_DATA | 3), Shows(kEdx, 0), "kernel data, RPL 3"},
      {k3, VerifyRead, Verifying(DEMO_USER_CODE), Shows(kEdx, 1), "user code"},
      {k3, VerifyRead, Verifying(DEMO_EXECUTE_ONLY), Shows(kEdx, 0), "execute-only code"},
      {k3, VerifyRead, Verifying(DEMO_CONFORMING_CODE), Shows(kEdx, 1), "conforming code"},
      {k0, VerifyWrite, Verifying(DEMO_KERNEL_DATA), Shows(kEdx, 1), "kernel data"},
      {k3, VerifyWrite, Verifying(DEMO_USER_DATA), Shows(kEdx, 1), "user data"},
      {k3, VerifyWrite, Verifying(DEMO_SMALL_READ_ONLY), Shows(kEdx, 0), "read-only data"},
      {k0, VerifyWrite, Verifying(DEMO_KERNEL_CODE), Shows(kEdx, 0), "code"},
      {k3, VerifyWrite, Verifying(DEMO_LDT_DATA), Shows(kEdx, 1), "data in the LDT"},
  };
  CheckRows(rows);
}

// --- EFLAGS -------------------------------------------------------------------------------------------------------

DEMO_PROBE(PushFlags, "", "pushf", "pop %eax");
DEMO_PROBE(PopFlags, "push %eax", "popf", "");
DEMO_PROBE(InterruptReturn, "push %eax; mov %cs, %edx; push %edx; push $InterruptReturn_next", "iret", "");

Registers Flags(uint32_t before, uint32_t wanted = 0) {
  return {.eax = eflags::kReserved1 | wanted, .eflags = eflags::kReserved1 | before};
}
Expectation ShowsFlags(uint32_t value) { return Shows(kEflags, eflags::kReserved1 | value); }

/// POPF and IRET obey the same rule: IF changes where CPL <= IOPL, IOPL changes at CPL 0 alone, and nothing faults.
void CheckFlagsWriter(const Probe& probe) {
  constexpr Level k0 = Level::kKernel, k3 = Level::kUser;
  constexpr uint32_t kIf = eflags::kIf, kIopl = eflags::kIopl3, kCf = eflags::kCf;
  const Row rows[] = {
      {k0, probe, Flags(0, kIf | kIopl | kCf), ShowsFlags(kIf | kIopl | kCf), "sets IF, IOPL, CF"},
      {k0, probe, Flags(kIf | kIopl, 0), ShowsFlags(0), "clears IF, IOPL"},
      {k3, probe, Flags(kIf, kIopl | kCf), ShowsFlags(kIf | kCf), "IF stays set, IOPL stays 0"},
      {k3, probe, Flags(0, kIf | kIopl), ShowsFlags(0), "IF stays clear, IOPL stays 0"},
      {k3, probe, Flags(kIf | kIopl, 0), ShowsFlags(kIopl), "IOPL 3: IF clears, IOPL stays 3"},
  };
  CheckRows(rows);
}

void CheckFlags() {
  constexpr uint32_t kIf = eflags::kIf, kIopl = eflags::kIopl3;
  const Row rows[] = {
      {Level::kKernel, PushFlags, Flags(kIopl), Shows(kEax, eflags::kReserved1 | kIopl), "IF clear, IOPL 3"},
      {Level::kKernel, PushFlags, Flags(kIf), Shows(kEax, eflags::kReserved1 | kIf), "IF set, IOPL 0"},
      {Level::kUser, PushFlags, Flags(kIf), Shows(kEax, eflags::kReserved1 | kIf), "IF set, IOPL 0"},
      {Level::kUser, PushFlags, Flags(eflags::kCf), Shows(kEax, eflags::kReserved1 | eflags::kCf), "IF clear, CF set"},
  };
  CheckRows(rows);
  CheckFlagsWriter(PopFlags);
  CheckFlagsWriter(InterruptReturn);
}

// --- Segment registers --------------------------------------------------------------------------------------------

DEMO_PROBE(PushCs, "", "push %cs", "pop %eax");
DEMO_PROBE(PushSs, "", "push %ss", "pop %eax");
DEMO_PROBE(PushFs, "", "push %fs", "pop %eax");
DEMO_PROBE(PopFs, "push %ecx", "pop %fs", "mov %fs, %eax");
DEMO_PROBE(MoveFromCs, "", "mov %cs, %eax", "");
DEMO_PROBE(MoveFromFs, "", "mov %fs, %eax", "");
DEMO_PROBE(MoveToFs, "", "mov %ecx, %fs", "mov %fs, %eax");

void CheckSegmentRegisters(Level level) {
  bool user = level == Level::kUser;
  const uint32_t code = user ? DEMO_USER_CODE : DEMO_KERNEL_CODE, stack = user ? DEMO_USER_DATA : DEMO_KERNEL_DATA;
  const Row rows[] = {
      {level, PushCs, {}, Shows(kEax, code, kLow16), "CPL in the RPL"},
      {level, PushSs, {}, Shows(kEax, stack, kLow16), "CPL in the RPL"},
      {level, PushFs, {}, Shows(kEax, DEMO_USER_DATA, kLow16), "selector"},
      {level, PopFs, {.ecx = DEMO_LDT_DATA}, Shows(kEax, DEMO_LDT_DATA, kLow16), "selector in the LDT"},
      {level, PopFs, {.ecx = 3}, Shows(kEax, 3, kLow16), "null with RPL 3"},
      {level, MoveFromCs, {}, Shows(kEax, code, kLow16), "CPL in the RPL"},
      {level, MoveToFs, {.ecx = DEMO_USER_DATA}, Shows(kEax, DEMO_USER_DATA, kLow16), "selector"},
  };
  CheckRows(rows);
}

void CheckSegmentRights() {
  constexpr Level k0 = Level::kKernel, k3 = Level::kUser;
  const Expectation fault = Faults(vector::kGeneralProtection, DEMO_KERNEL_DATA);
  const Row rows[] = {
      {k0, PopFs, {.ecx = DEMO_KERNEL_DATA}, Shows(kEax, DEMO_KERNEL_DATA, kLow16), "kernel data"},
      {k3, PopFs, {.ecx = DEMO_KERNEL_DATA}, fault, "kernel data"},
      {k3, MoveToFs, {.ecx = DEMO_KERNEL_DATA}, fault, "kernel data"},
      {k0, MoveFromFs, {.fs = DEMO_KERNEL_DATA}, Shows(kEax, DEMO_KERNEL_DATA, kLow16), "kernel data"},
      {k3, MoveFromFs, {.fs = DEMO_KERNEL_DATA}, Shows(kEax, 0, kLow16), "kernel data nulled by IRET"},
  };
  CheckRows(rows);
}

// --- Control transfers --------------------------------------------------------------------------------------------

DEMO_PROBE(CallKernel, "", "lcall $" DEMO_STRING(DEMO_KERNEL_CODE) ", $CallKernel_next", "pop %ecx; pop %eax");
DEMO_PROBE(CallUser, "", "lcall $" DEMO_STRING(DEMO_USER_CODE) ", $CallUser_next", "pop %ecx; pop %eax");
DEMO_PROBE(CallGate, "push $0x1234", "lcall $" DEMO_STRING(DEMO_CALL_GATE) ", $0", "");
DEMO_PROBE(JumpKernel, "", "ljmp $" DEMO_STRING(DEMO_KERNEL_CODE) ", $JumpKernel_next", "mov %cs, %eax");
DEMO_PROBE(JumpUser, "", "ljmp $" DEMO_STRING(DEMO_USER_CODE) ", $JumpUser_next", "mov %cs, %eax");
DEMO_PROBE(JumpConforming, "", "ljmp $" DEMO_STRING(DEMO_CONFORMING_CODE) ", $JumpConforming_next", "mov %cs, %eax");
DEMO_PROBE(FarReturn, "push %ecx; push $FarReturn_next", "lret", "mov %cs, %eax");
DEMO_PROBE(
    FarReturnOut,
    "push $" DEMO_STRING(DEMO_USER_DATA) "; push %edi; push $" DEMO_STRING(DEMO_USER_CODE) "; push $FarReturnOut_next",
    "lret", "mov %cs, %eax; mov %ss, %ebx; mov %ds, %edx");
DEMO_PROBE(InterruptReturnTo, "pushf; push %ecx; push $InterruptReturnTo_next", "iret", "mov %cs, %eax");
DEMO_PROBE(InterruptReturnOut,
           "push $" DEMO_STRING(DEMO_USER_DATA) "; push %edi; pushf; push $" DEMO_STRING(
               DEMO_USER_CODE) "; push $InterruptReturnOut_next",
           "iret", "mov %cs, %eax; mov %ss, %ebx; mov %ds, %edx");
DEMO_PROBE(IntOpen, "", "int $" DEMO_STRING(DEMO_VECTOR_SYSCALL), "");
DEMO_PROBE(IntKernelOnly, "", "int $" DEMO_STRING(DEMO_VECTOR_KERNEL_ONLY), "");

void CheckCallsAndJumps() {
  constexpr Level k0 = Level::kKernel, k3 = Level::kUser;
  const Expectation fault = Faults(vector::kGeneralProtection, DEMO_KERNEL_CODE);
  const Row rows[] = {
      {k0, CallKernel, {}, Shows(kEax, DEMO_KERNEL_CODE, kLow16), "CS pushed"},
      {k0, CallKernel, {}, Shows(kEcx, AddressOf(CallKernel.next)), "EIP pushed"},
      {k3, CallKernel, {}, fault, "to kernel code"},
      {k3, CallUser, {}, Shows(kEax, DEMO_USER_CODE, kLow16), "CS pushed"},
      {k0, CallGate, {}, Shows(kEcx, DEMO_KERNEL_CODE, kLow16), "CS pushed"},
      {k3, CallGate, {}, Shows(kEax, DEMO_KERNEL_CODE), "CS inside the gate"},
      {k3, CallGate, {}, Shows(kEbx, 0x1234), "parameter copied"},
      {k3, CallGate, {}, Shows(kEcx, DEMO_USER_CODE, kLow16), "CS pushed"},
      {k3, CallGate, {}, Shows(&TrapFrame::esp, UserProbeStackTop()), "ESP after LRET 4"},
      {k0, JumpKernel, {}, Shows(kEax, DEMO_KERNEL_CODE), "CS"},
      {k3, JumpKernel, {}, fault, "to kernel code"},
      {k3, JumpUser, {}, Shows(kEax, DEMO_USER_CODE), "CS"},
      {k0, JumpConforming, {}, Shows(kEax, DEMO_CONFORMING_CODE & ~3u), "CS keeps the CPL"},
      {k3, JumpConforming, {}, Shows(kEax, DEMO_CONFORMING_CODE), "CS keeps the CPL"},
  };
  CheckRows(rows);
}

void CheckReturns() {
  constexpr Level k0 = Level::kKernel, k3 = Level::kUser;
  const Registers kernel_code{.ecx = DEMO_KERNEL_CODE}, user_code{.ecx = DEMO_USER_CODE},
      user_stack{.edi = UserProbeStackTop()};
  const Expectation fault = Faults(vector::kGeneralProtection, DEMO_KERNEL_CODE);
  const Row rows[] = {
      {k0, FarReturn, kernel_code, Shows(kEax, DEMO_KERNEL_CODE), "CS"},
      {k3, FarReturn, kernel_code, fault, "to kernel code"},
      {k3, FarReturn, user_code, Shows(kEax, DEMO_USER_CODE), "CS"},
      {k0, FarReturnOut, user_stack, Shows(kEax, DEMO_USER_CODE), "to CPL 3, CS"},
      {k0, FarReturnOut, user_stack, Shows(kEbx, DEMO_USER_DATA), "to CPL 3, SS"},
      {k0, FarReturnOut, user_stack, Shows(kEdx, 0), "to CPL 3, kernel DS nulled"},
      {k0, FarReturnOut, user_stack, Shows(&TrapFrame::esp, UserProbeStackTop()), "to CPL 3, ESP"},
      {k0, InterruptReturnTo, kernel_code, Shows(kEax, DEMO_KERNEL_CODE), "CS"},
      {k3, InterruptReturnTo, kernel_code, fault, "to kernel code"},
      {k3, InterruptReturnTo, user_code, Shows(kEax, DEMO_USER_CODE), "CS"},
      {k0, InterruptReturnOut, user_stack, Shows(kEax, DEMO_USER_CODE), "to CPL 3, CS"},
      {k0, InterruptReturnOut, user_stack, Shows(kEbx, DEMO_USER_DATA), "to CPL 3, SS"},
      {k0, InterruptReturnOut, user_stack, Shows(kEdx, 0), "to CPL 3, kernel DS nulled"},
  };
  CheckRows(rows);
}

void CheckInterruptInstruction() {
  constexpr Level k0 = Level::kKernel, k3 = Level::kUser;
  constexpr uint32_t kErrorFromIdt = 2;  // error code bit 1: the index is into the IDT
  const Row rows[] = {
      {k0, IntOpen, {}, Interrupts(vector::kSyscall), "gate with DPL 3"},
      {k3, IntOpen, {}, Interrupts(vector::kSyscall), "gate with DPL 3"},
      {k3, IntOpen, {}, {.vector = vector::kSyscall, .field = &TrapFrame::cs, .value = DEMO_USER_CODE}, "CS pushed"},
      {k0, IntKernelOnly, {}, Interrupts(vector::kKernelOnly), "gate with DPL 0"},
      {k3,
       IntKernelOnly,
       {},
       Faults(vector::kGeneralProtection, vector::kKernelOnly * 8 + kErrorFromIdt),
       "gate with DPL 0"},
  };
  CheckRows(rows);
}

}  // namespace

void CheckSensitive() {
  BeginSection("Sensitive instructions that do not trap");
  for (Level level : kLevels) CheckSystemRegisters(level);
  CheckRights();
  CheckVerify();
  CheckFlags();
  for (Level level : kLevels) CheckSegmentRegisters(level);
  CheckSegmentRights();
  CheckCallsAndJumps();
  CheckReturns();
  CheckInterruptInstruction();
}

}  // namespace demo
