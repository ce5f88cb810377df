// Puts a guest operating system and everything it is told at boot into a machine's memory.
#pragma once

#include <string>

#include "monitor/boot/acpi_tables.h"
#include "monitor/cpu/cpu_state.h"
#include "shadowmmu/physical_memory.h"

namespace ring3 {

struct BootOptions {
  std::string kernel;  // path of a bzImage or a Multiboot 1 kernel
  std::string initrd;  // empty: none. Linux: a path. Multiboot: "path arguments,path arguments,..."; ",," is a comma
  std::string command_line;  // what --append gave
  AcpiMachine acpi;          // what the ACPI tables say
  bool vga_text = false;     // there is a VGA, in text mode 3
};

/// Loads the kernel, its initrd or modules, and the ACPI tables, and sets `cpu` (just reset) up at the kernel's entry.
/// Throws UsageError, with the file's name, when a file cannot be read, is damaged or not a kernel ring3 can boot, or
/// does not fit into memory.
void LoadGuest(const BootOptions& options, PhysicalMemory& memory, CpuState& cpu);

}  // namespace ring3
