#include "traps.h"

#include "console.h"
#include "descriptors.h"
#include "power.h"

namespace demo {
namespace {

constexpr uint32_t kStackBytes = 4096;
alignas(16) uint8_t probe_stack[kStackBytes];       // CPL 0 probes run on it
alignas(16) uint8_t probe_trap_stack[kStackBytes];  // traps out of CPL 3 probes land on it
[[gnu::section(".user_data")]] alignas(16) uint8_t user_probe_stack[kStackBytes] = {};

TrapHandler handlers[256];
bool probe_running = false;
ProbeResult probe_result;

bool IsIrq(uint32_t vector) { return vector >= DEMO_VECTOR_IRQ && vector < DEMO_VECTOR_IRQ + 16; }

[[noreturn]] void FinishProbe(const TrapFrame* frame) {
  probe_running = false;
  probe_result.cr2 = ReadCr2();
  if (frame->FromUser()) {
    probe_result.frame = *frame;
  } else {
    // Without a change of CPL the CPU pushed neither SS nor ESP: ESP is where the frame ends.
    __builtin_memcpy(&probe_result.frame, frame, sizeof *frame - 8);
    probe_result.frame.esp = AddressOf(&frame->esp);
    uint32_t ss;
    asm("movl %%ss, %0" : "=r"(ss));
    probe_result.frame.ss = ss;
  }
  LeaveToKernel();
}

[[noreturn]] void ReportUnexpected(const TrapFrame* frame) {
  Print("\nunexpected trap %u %s error %x at %x:%08x, CR2 %08x\n", frame->vector, VectorName(frame->vector),
        frame->error, frame->cs, frame->eip, ReadCr2());
  Print("ring3 demo: stopped by an unexpected trap\n");
  PowerOff(true);
}

}  // namespace

extern "C" TrapFrame* HandleTrap(TrapFrame* frame) {
  if (probe_running && !IsIrq(frame->vector)) FinishProbe(frame);
  TrapHandler handler = handlers[frame->vector];
  if (handler == nullptr) ReportUnexpected(frame);
  return handler(frame);
}

void SetTrapHandler(uint32_t vector, TrapHandler handler) { handlers[vector] = handler; }

const char* VectorName(uint32_t vector) {
  static constexpr const char* kNames[] = {"#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "int",
                                           "#TS", "#NP", "#SS", "#GP", "#PF", "int", "#MF", "#AC", "#MC", "#XM"};
  return vector < sizeof kNames / sizeof kNames[0] ? kNames[vector] : "int";
}

uint32_t UserProbeStackTop() { return AddressOf(user_probe_stack + kStackBytes); }

ProbeResult RunAt(uint32_t entry, Level level, const Registers& in) {
  bool user = level == Level::kUser;
  uint32_t data = user ? DEMO_USER_DATA : DEMO_KERNEL_DATA;
  auto* frame = reinterpret_cast<TrapFrame*>(probe_stack + kStackBytes) - 1;
  *frame = TrapFrame{};
  frame->ds = frame->es = frame->gs = data;
  frame->fs = in.fs;
  frame->eax = in.eax, frame->ebx = in.ebx, frame->ecx = in.ecx, frame->edx = in.edx;
  frame->esi = in.esi, frame->edi = in.edi;
  frame->eip = entry;
  frame->cs = user ? DEMO_USER_CODE : DEMO_KERNEL_CODE;
  frame->eflags = in.eflags;
  frame->esp = UserProbeStackTop();
  frame->ss = data;
  SetKernelStack(AddressOf(probe_trap_stack + kStackBytes));
  probe_result.start_esp = user ? frame->esp : AddressOf(&frame->esp);
  probe_running = true;
  EnterFrame(frame);
  return probe_result;
}

}  // namespace demo
