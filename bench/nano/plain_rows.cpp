// Rows without privilege: what translated code itself is worth.
#include "rows.h"

extern "C" {
void NanoEmpty();
extern void (*const nano_targets[8])();
}

// Eight functions of their own lines, so that no predictor takes them for one.
asm(R"(
        .text
        .balign 64
        .globl NanoEmpty
NanoEmpty: ret
        .altmacro
        .macro nano_target number
        .balign 64
nano_target_\number: ret
        .endm
        .irp number, 0, 1, 2, 3, 4, 5, 6, 7
        nano_target \number
        .endr
        .section .rodata
        .balign 64
        .globl nano_targets
nano_targets:
        .irp number, 0, 1, 2, 3, 4, 5, 6, 7
        .long nano_target_\number
        .endr
        .text
)");

namespace nano {

uint8_t* code_page;

namespace {

constexpr uint32_t kPageBytes = 4096;
alignas(64) uint8_t copy_from[kPageBytes], copy_to[kPageBytes];
alignas(16) double numbers[6] = {1.5, 1.25, 0.75, 0.5, 0.125, 0.25};

uint64_t Loop(uint32_t n) {
  return Timed([n]() mutable { asm volatile("1: decl %0\n jnz 1b" : "+r"(n)::"cc"); });
}

uint64_t CallReturn(uint32_t n) {
  return TimedLoop(n, [] { asm volatile("call NanoEmpty" ::: "memory"); });
}

uint64_t IndirectOneTarget(uint32_t n) {
  return TimedLoop(n, [] { asm volatile("call *nano_targets" ::: "memory"); });
}

// One call site, eight targets in turn.
uint64_t IndirectEightTargets(uint32_t n) {
  return Timed([n] {
    for (uint32_t i = 0; i < n; ++i) asm volatile("call *nano_targets(,%0,4)" ::"r"(i % 8) : "memory");
  });
}

uint64_t Rdtsc(uint32_t n) {
  return TimedLoop(n, [] { asm volatile("rdtsc" ::: "eax", "edx"); });
}

uint64_t Cpuid(uint32_t n) {
  return TimedLoop(n, [] { asm volatile("xorl %%eax, %%eax\n cpuid" ::: "eax", "ebx", "ecx", "edx"); });
}

uint64_t CopyPage(uint32_t n) {
  return TimedLoop(n, [] {
    void *to = copy_to, *from = copy_from;
    uint32_t count = kPageBytes / 4;
    asm volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(count)::"memory");
  });
}

uint64_t ClearPage(uint32_t n) {
  return TimedLoop(n, [] {
    void* to = copy_to;
    uint32_t count = kPageBytes / 4;
    asm volatile("rep stosl" : "+D"(to), "+c"(count) : "a"(0) : "memory");
  });
}

uint64_t X87(uint32_t n) {
  return TimedLoop(n, [] {
    asm volatile("fldl %0\n fmull %1\n faddl %2\n fstpl %0" : "+m"(numbers[0]) : "m"(numbers[2]), "m"(numbers[3]));
  });
}

uint64_t Sse2(uint32_t n) {
  return TimedLoop(n, [] {
    asm volatile(
        "movapd (%0), %%xmm0\n mulpd 16(%0), %%xmm0\n addpd 32(%0), %%xmm0\n movapd %%xmm0, (%0)" ::"r"(numbers)
        : "memory");
  });
}

// MOV EAX, number; RET, with a new number each time.
uint64_t SelfModifiedStore(uint32_t n) {
  code_page[0] = 0xB8;
  code_page[5] = 0xC3;
  return Timed([n] {
    for (uint32_t i = 0; i < n; ++i) {
      uint32_t result;
      asm volatile("movl %2, 1(%1)\n call *%1" : "=&a"(result) : "r"(code_page), "r"(i) : "memory");
      if (result != i) asm volatile("ud2");
    }
  });
}

constexpr Row kRows[] = {
#define NANO_PLAIN_ROW(name, use, ...) {name, __VA_ARGS__},
#include "rows.def"
};

}  // namespace

Rows PlainRows() { return {kRows, sizeof kRows / sizeof kRows[0]}; }

}  // namespace nano
