// Everything that enters the kernel builds one TrapFrame; probes are snippets run at a chosen CPL until they trap.
#pragma once

#include <stdint.h>

#include "layout.h"
#include "x86.h"

namespace demo {

/// As traps.S pushes it, lowest address first. `esp` and `ss` are pushed by the CPU only when the CPL changed.
struct TrapFrame {
  uint32_t gs, fs, es, ds;
  uint32_t edi, esi, ebp, esp_at_pushal, ebx, edx, ecx, eax;
  uint32_t vector, error;
  uint32_t eip, cs, eflags;
  uint32_t esp, ss;

  bool FromUser() const { return (cs & 3) == 3; }
};
static_assert(sizeof(TrapFrame) == 19 * 4, "traps.S pushes these words");

namespace vector {
inline constexpr uint32_t kDivideError = 0, kDebug = 1, kBreakpoint = 3, kOverflow = 4, kBoundRange = 5,
                          kInvalidOpcode = 6, kDeviceNotAvailable = 7, kSegmentNotPresent = 11, kStackFault = 12,
                          kGeneralProtection = 13, kPageFault = 14, kX87FloatingPoint = 16, kTimer = DEMO_VECTOR_IRQ,
                          kKernelOnly = DEMO_VECTOR_KERNEL_ONLY, kSyscall = DEMO_VECTOR_SYSCALL,
                          kProbeDone = DEMO_VECTOR_PROBE_DONE, kSysenter = DEMO_VECTOR_SYSENTER;
}

/// "#GP" and so on; "int" for what is no exception.
const char* VectorName(uint32_t vector);

/// Called with interrupts off. Returns the frame to resume, which may be another one.
using TrapHandler = TrapFrame* (*)(TrapFrame*);
void SetTrapHandler(uint32_t vector, TrapHandler handler);

extern "C" {
/// Resumes `frame`; returns when some later trap calls LeaveToKernel.
void EnterFrame(TrapFrame* frame);
[[noreturn]] void LeaveToKernel();
}

enum class Level : uint8_t { kKernel = 0, kUser = 3 };
inline constexpr Level kLevels[] = {Level::kKernel, Level::kUser};

/// What the registers hold when a probe starts.
struct Registers {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0, esi = 0, edi = 0;
  uint32_t eflags = eflags::kReserved1;
  uint32_t fs = DEMO_USER_DATA;
};

/// The state at the trap that ended a probe.
struct ProbeResult {
  TrapFrame frame;  // esp and ss are filled in at either CPL
  uint32_t cr2;
  uint32_t start_esp;
  bool ZeroFlag() const { return frame.eflags & eflags::kZf; }
  bool Done() const { return frame.vector == vector::kProbeDone; }
};

/// Runs the code at `entry` at CPL 0 or 3, interrupts as in `in.eflags`, until its first trap. It ends with INT 81h.
ProbeResult RunAt(uint32_t entry, Level level, const Registers& in = {});
/// The top of the stack that a probe at CPL 3 starts with.
uint32_t UserProbeStackTop();

/// One instruction under test, with what prepares it and what looks at it. `at` is its address, `next` the one after.
struct Probe {
  const uint8_t *start, *at, *next;
  const char* text;
};
inline ProbeResult Run(const Probe& probe, Level level, const Registers& in = {}) {
  return RunAt(AddressOf(probe.start), level, in);
}

/// Defines a Probe; lies in pages that both CPLs may execute.
#define DEMO_PROBE(name, before, instruction, after)                                                     \
  asm(".pushsection .probes, \"ax\"\n" #name "_start: " before "\n" #name "_at: " instruction "\n" #name \
      "_next: " after "\n int $" DEMO_STRING(DEMO_VECTOR_PROBE_DONE) "\n.popsection");                   \
  extern "C" const uint8_t name##_start[], name##_at[], name##_next[];                                   \
  constexpr Probe name { name##_start, name##_at, name##_next, instruction }

}  // namespace demo
