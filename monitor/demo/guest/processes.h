// Ring-3 processes: an address space each, pre-empted by the timer, with lazily switched FPU state.
#pragma once

#include <stdint.h>

namespace demo {

/// System calls: number in EAX, arguments in EBX, ESI, EDI, result in EAX; by INT 80h or by SYSENTER with the return
/// address in EDX and the stack in ECX.
enum class SystemCall : uint32_t {
  kGetPid,
  kSum /* of three */,
  kWrite /* text */,
  kReport /* what, expected, seen */,
  kExit
};

/// Mapped read-only into each process at kInfoAddress.
struct ProcessInfo {
  uint32_t pid;
  char name;
  uint32_t steps;
  volatile uint32_t preemptions;  // how often the timer took the CPU away
};

/// The linear addresses of a process's own pages; the same in each process, with different frames behind them.
inline constexpr uint32_t kPrivateAddress = 0x40000000, kInfoAddress = 0x40001000, kStackAddress = 0x40003000;

/// The programs (programs.cpp).
void RunWorker();
void TouchKernelMemory();
void DivideByZero();

/// The section of the report.
void CheckProcesses(bool quick);

}  // namespace demo
