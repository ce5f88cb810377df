// Descriptor tables and task state segments, as guest kernels build them (SDM 3A, chapters 3 and 7).
#pragma once

#include "x86.h"

namespace demo {

/// Access bytes: P, DPL, S, type, with the accessed bit set so that loading a segment does not change its descriptor.
inline constexpr uint32_t kKernelCode = 0x9B, kKernelData = 0x93, kUserCode = 0xFB, kUserData = 0xF3,
                          kTssAvailable = 0x89;
inline constexpr uint32_t kFlat = 0xC;  // G, D/B
inline constexpr uint32_t kWholeSpace = 0xFFFFF;

struct Descriptor {
  uint32_t low, high;
};

inline Descriptor Segment(uint32_t base, uint32_t limit, uint32_t access, uint32_t flags) {
  return {(base << 16) | (limit & 0xFFFF),
          (base & 0xFF000000) | (flags << 20) | (limit & 0xF0000) | (access << 8) | ((base >> 16) & 0xFF)};
}

struct TaskState {
  uint32_t link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags, eax, ecx, edx, ebx, esp, ebp, esi, edi, es, cs, ss,
      ds, fs, gs, ldt;
  uint16_t trap, io_map_base;
};
static_assert(sizeof(TaskState) == 104, "SDM 3A, figure 7-2");

/// Loads the tables, and every segment register from the new ones.
template <uint32_t kCode>
inline void LoadTables(const TableRegister& gdtr, const TableRegister& idtr, uint32_t data, uint32_t stack) {
  asm volatile(
      "lgdt %0\n"
      "ljmp %2, $1f\n"
      "1: movl %3, %%ds\n movl %3, %%es\n movl %3, %%fs\n movl %3, %%gs\n movl %4, %%ss\n"
      "lidt %1\n" ::"m"(gdtr),
      "m"(idtr), "i"(kCode), "r"(data), "r"(stack)
      : "memory");
}

}  // namespace demo
