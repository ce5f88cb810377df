#include "processes.h"

#include "checks.h"
#include "console.h"
#include "descriptors.h"
#include "fpu.h"
#include "interrupts.h"
#include "paging.h"
#include "traps.h"
#include "x86.h"

namespace demo {
namespace {

constexpr uint32_t kKernelStackBytes = 4096;
constexpr uint32_t kFatalVectors[] = {vector::kDivideError, vector::kInvalidOpcode, vector::kGeneralProtection,
                                      vector::kPageFault};

struct Process {
  bool runnable = false;
  TrapFrame* frame = nullptr;   // while it does not run
  uint32_t directory = 0;       // its CR3
  ProcessInfo* info = nullptr;  // by the kernel's own address of that page
  FpuState fpu;
  alignas(16) uint8_t kernel_stack[kKernelStackBytes];
};

struct Counters {
  uint32_t by_int = 0, by_sysenter = 0, written_lines = 0, alternations = 0, fpu_switches = 0, killed = 0;
  uint32_t last_writer = 0, last_vector = 0, last_error = 0, last_cr2 = 0;
};

constexpr unsigned kMaxProcesses = 2;
Process processes[kMaxProcesses];
Process* current = nullptr;
Process* fpu_owner = nullptr;
Counters counters;

/// Makes `next` current and returns the frame to resume it with.
TrapFrame* SwitchTo(Process& next) {
  current = &next;
  SetKernelStack(AddressOf(next.kernel_stack + kKernelStackBytes));
  WriteCr3(next.directory);
  if (fpu_owner == &next) {
    ClearTs();
  } else {
    WriteCr0(ReadCr0() | cr0::kTs);  // its first FPU instruction will be #NM
  }
  return next.frame;
}

/// The next runnable process in turn; back to the kernel when there is none.
TrapFrame* Schedule() {
  unsigned index = static_cast<unsigned>(current - processes);
  for (unsigned i = 1; i <= kMaxProcesses; ++i) {
    Process& candidate = processes[(index + i) % kMaxProcesses];
    if (candidate.runnable) return SwitchTo(candidate);
  }
  LeaveToKernel();
}

TrapFrame* OnTick(TrapFrame* frame) {
  if (!frame->FromUser()) return frame;
  current->frame = frame;
  current->info->preemptions = current->info->preemptions + 1;
  return Schedule();
}

TrapFrame* OnFpuUse(TrapFrame* frame) {
  ++counters.fpu_switches;
  ClearTs();
  if (fpu_owner != nullptr) SaveFpu(fpu_owner->fpu);
  RestoreFpu(current->fpu);
  fpu_owner = current;
  return frame;
}

TrapFrame* EndCurrent() {
  current->runnable = false;
  if (fpu_owner == current) fpu_owner = nullptr;
  return Schedule();
}

void WriteText(const char* text) {
  Print("%s", text);
  ++counters.written_lines;
  counters.alternations += counters.last_writer != current->info->pid;
  counters.last_writer = current->info->pid;
}

TrapFrame* OnSystemCall(TrapFrame* frame) {
  ++(frame->vector == vector::kSysenter ? counters.by_sysenter : counters.by_int);
  switch (static_cast<SystemCall>(frame->eax)) {
    case SystemCall::kGetPid:
      frame->eax = current->info->pid;
      break;
    case SystemCall::kSum:
      frame->eax = frame->ebx + frame->esi + frame->edi;
      break;
    case SystemCall::kWrite:
      WriteText(reinterpret_cast<const char*>(frame->ebx));
      break;
    case SystemCall::kReport:
      Print("    [%c]", current->info->name);
      Check(reinterpret_cast<const char*>(frame->ebx), frame->esi, frame->edi);
      break;
    case SystemCall::kExit:
      return EndCurrent();
    default:
      frame->eax = ~0u;
      break;
  }
  return frame;
}

TrapFrame* OnProcessFault(TrapFrame* frame) {
  counters.last_vector = frame->vector;
  counters.last_error = frame->error;
  counters.last_cr2 = ReadCr2();
  ++counters.killed;
  Print("    process %c killed: %s(%x) at EIP %08x", current->info->name, VectorName(frame->vector), frame->error,
        frame->eip);
  if (frame->vector == vector::kPageFault) Print(", CR2 %08x", counters.last_cr2);
  Print("\n");
  return EndCurrent();
}

uint8_t* MapNewPage(uint32_t* directory, uint32_t linear, uint32_t flags) {
  uint8_t* page = AllocatePage();
  Map(directory, linear, AddressOf(page), flags);
  return page;
}

void Create(unsigned slot, uint32_t pid, char name, void (*program)(), uint32_t steps) {
  Process& process = processes[slot];
  uint32_t* directory = NewDirectory();
  MapNewPage(directory, kPrivateAddress, pte::kAll);
  MapNewPage(directory, kStackAddress, pte::kAll);
  process.directory = AddressOf(directory);
  process.info = reinterpret_cast<ProcessInfo*>(MapNewPage(directory, kInfoAddress, pte::kPresent | pte::kUser));
  process.info->pid = pid;
  process.info->name = name;
  process.info->steps = steps;
  process.fpu = InitialFpuState();
  process.frame = reinterpret_cast<TrapFrame*>(process.kernel_stack + kKernelStackBytes) - 1;
  *process.frame = TrapFrame{};
  process.frame->gs = process.frame->fs = process.frame->es = process.frame->ds = DEMO_USER_DATA;
  process.frame->eip = reinterpret_cast<uint32_t>(program);
  process.frame->cs = DEMO_USER_CODE;
  process.frame->eflags = eflags::kReserved1 | eflags::kIf;
  process.frame->esp = kStackAddress + kPageBytes - 16;
  process.frame->ss = DEMO_USER_DATA;
  process.runnable = true;
}

/// Runs processes until none is left.
void RunAll() {
  fpu_owner = nullptr;
  EnterFrame(SwitchTo(processes[0]));
  WriteCr3(AddressOf(KernelDirectory()));
  ClearTs();
}

/// Runs one program alone that must be killed for a fault.
void CheckKilled(char name, void (*program)(), uint32_t vector, uint32_t error) {
  uint32_t killed_before = counters.killed;
  Create(0, static_cast<uint32_t>(name), name, program, 0);
  RunAll();
  Check("processes killed", 1, counters.killed - killed_before);
  Check("  for this exception", vector, counters.last_vector);
  Check("  with this error code", error, counters.last_error);
}

void InstallHandlers() {
  extern const uint8_t sysenter_entry[] asm("SysenterEntry");
  WriteMsr(msr::kSysenterCs, DEMO_KERNEL_CODE);
  WriteMsr(msr::kSysenterEsp, KernelStackSlot());
  WriteMsr(msr::kSysenterEip, AddressOf(sysenter_entry));
  SetTrapHandler(vector::kSyscall, OnSystemCall);
  SetTrapHandler(vector::kSysenter, OnSystemCall);
  SetTrapHandler(vector::kDeviceNotAvailable, OnFpuUse);
  for (uint32_t v : kFatalVectors) SetTrapHandler(v, OnProcessFault);
  SetTickHook(OnTick);
}

void RemoveHandlers() {
  for (uint32_t v : kFatalVectors) SetTrapHandler(v, nullptr);
  SetTrapHandler(vector::kDeviceNotAvailable, nullptr);
  SetTickHook(nullptr);
}

}  // namespace

void CheckProcesses(bool quick) {
  BeginSection("Processes and system calls");
  const uint32_t steps = quick ? 2 : 4;
  InstallHandlers();
  EnableTimer(true);
  Create(0, 1, 'A', RunWorker, steps);
  Create(1, 2, 'B', RunWorker, steps);
  RunAll();
  Print("  %u system calls by INT 80h, %u by SYSENTER, %u FPU switches (#NM)\n", counters.by_int, counters.by_sysenter,
        counters.fpu_switches);
  Check("lines written", 2 * steps, counters.written_lines);
  CheckTrue("the processes took turns", counters.alternations > 2);
  CheckTrue("A was pre-empted once a step or more", processes[0].info->preemptions >= steps);
  CheckTrue("B was pre-empted once a step or more", processes[1].info->preemptions >= steps);
  Check("calls by INT 80h", 2 * (20 * steps + 5), counters.by_int);
  Check("calls by SYSENTER", 2 * 21 * steps, counters.by_sysenter);
  CheckTrue("the FPU went to and fro between them", counters.fpu_switches >= steps);

  constexpr uint32_t kPresentWriteUser = 7;
  CheckKilled('C', TouchKernelMemory, vector::kPageFault, kPresentWriteUser);
  Check("  CR2 is the address touched", 0x1000, counters.last_cr2);
  CheckKilled('D', DivideByZero, vector::kDivideError, 0);
  EnableTimer(false);
  RemoveHandlers();
}

}  // namespace demo
