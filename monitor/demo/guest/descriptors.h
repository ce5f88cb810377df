// GDT, LDT, IDT and the task-state segment.
#pragma once

#include <stdint.h>

namespace demo {

/// Loads our GDT, LDT, TSS and IDT, with a gate for each vector.
void InstallDescriptorTables();
/// Prints and checks what SGDT and its like say, and what segments with a base and a limit do.
void DescribeDescriptorTables();

/// The stack that a trap from ring 3 lands on.
void SetKernelStack(uint32_t top);
/// Where the CPU finds it: SYSENTER's entry starts with ESP pointing here.
uint32_t KernelStackSlot();

/// What the sensitive instructions are to show.
uint32_t GdtBase();
uint32_t GdtLimit();
uint32_t IdtBase();
uint32_t IdtLimit();

}  // namespace demo
