// The programs that run in ring 3. The linker script puts this whole file, constants included, into pages that ring 3
// may read; it has no writable data and calls nothing in the kernel but through system calls.
#include "layout.h"
#include "processes.h"

namespace demo {
namespace {

uint32_t CallByInt(SystemCall call, uint32_t a, uint32_t b = 0, uint32_t c = 0) {
  uint32_t result;
  asm volatile("int $" DEMO_STRING(DEMO_VECTOR_SYSCALL) : "=a"(result) : "a"(call), "b"(a), "S"(b), "D"(c) : "memory");
  return result;
}

uint32_t CallBySysenter(SystemCall call, uint32_t a, uint32_t b = 0, uint32_t c = 0) {
  uint32_t result;
  asm volatile(
      "movl %%esp, %%ecx\n"
      "movl $1f, %%edx\n"
      "sysenter\n"
      "1:"
      : "=a"(result)
      : "a"(call), "b"(a), "S"(b), "D"(c)
      : "ecx", "edx", "memory", "cc");
  return result;
}

const ProcessInfo& Info() { return *reinterpret_cast<const ProcessInfo*>(kInfoAddress); }
volatile uint32_t& PrivateWord() { return *reinterpret_cast<volatile uint32_t*>(kPrivateAddress); }

void Report(const char* what, uint32_t expected, uint32_t seen) {
  CallByInt(SystemCall::kReport, reinterpret_cast<uint32_t>(what), expected, seen);
}

[[noreturn]] void Exit() {
  CallByInt(SystemCall::kExit, 0);
  __builtin_unreachable();
}

// A sum that lives in ST(0) and XMM0 only, from StartSums to the end of the program: the compiler uses neither
// (-mgeneral-regs-only), so each pre-emption must bring them back. ST(1) and XMM1 hold the addend.
void StartSums(const uint32_t& addend) {
  asm volatile(
      "fninit\n fildl %0\n fldz\n"
      "cvtsi2ssl %0, %%xmm1\n xorps %%xmm0, %%xmm0" ::"m"(addend));
}

void AddToSums(uint32_t times) {
  asm volatile("1: fadd %%st(1), %%st\n addss %%xmm1, %%xmm0\n decl %0\n jnz 1b" : "+r"(times)::"cc");
}

uint32_t ReadX87Sum() {
  uint32_t sum;
  asm volatile("fistl %0" : "=m"(sum));
  return sum;
}

uint32_t ReadSseSum() {
  uint32_t sum;
  asm volatile("cvttss2sil %%xmm0, %0" : "=r"(sum));
  return sum;
}

void WaitForPreemption() {
  for (uint32_t before = Info().preemptions; Info().preemptions == before;) {
  }
}

void WriteLine(uint32_t step) {
  char line[] = "    [?] step ?\n";
  line[5] = Info().name;
  line[13] = static_cast<char>('0' + step);
  CallBySysenter(SystemCall::kWrite, reinterpret_cast<uint32_t>(line));
}

/// Every system call both ways; returns how many gave a wrong result.
uint32_t CountWrongCalls(uint32_t step) {
  uint32_t wrong = 0;
  for (uint32_t i = 0; i < 10; ++i) {
    uint32_t sum = i + step * 3 + 0x1000;
    wrong += CallByInt(SystemCall::kSum, i, step * 3, 0x1000) != sum;
    wrong += CallBySysenter(SystemCall::kSum, i, step * 3, 0x1000) != sum;
    wrong += CallByInt(SystemCall::kGetPid, 0) != Info().pid;
    wrong += CallBySysenter(SystemCall::kGetPid, 0) != Info().pid;
  }
  return wrong;
}

}  // namespace

void RunWorker() {
  constexpr uint32_t kAdditions = 1000;
  const uint32_t addend = Info().pid * 7;
  uint32_t wrong_calls = 0, lost_words = 0, wrong_x87 = 0, wrong_sse = 0;
  StartSums(addend);
  for (uint32_t step = 1; step <= Info().steps; ++step) {
    const uint32_t word = Info().pid << 16 | step;
    PrivateWord() = word;
    WriteLine(step);
    AddToSums(kAdditions);
    WaitForPreemption();
    lost_words += PrivateWord() != word;
    wrong_x87 += ReadX87Sum() != addend * kAdditions * step;
    wrong_sse += ReadSseSum() != addend * kAdditions * step;
    wrong_calls += CountWrongCalls(step);
  }
  Report("own memory lost to the other process", 0, lost_words);
  Report("x87 sums spoilt by a switch", 0, wrong_x87);
  Report("SSE sums spoilt by a switch", 0, wrong_sse);
  Report("system calls with a wrong result", 0, wrong_calls);
  Exit();
}

void TouchKernelMemory() {
  *reinterpret_cast<volatile uint32_t*>(0x1000) = 1;  // identity-mapped, supervisor only
  Exit();
}

void DivideByZero() {
  asm volatile("xorl %%ecx, %%ecx\n divl %%ecx" ::: "eax", "ecx", "edx", "cc");
  Exit();
}

}  // namespace demo
