// Loads a Linux bzImage by the 32-bit boot protocol (Linux: Documentation/arch/x86/boot.rst).
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "monitor/boot/little_endian.h"
#include "monitor/cpu/cpu_state.h"
#include "shadowmmu/physical_memory.h"

namespace ring3 {

/// What the loader needs of a bzImage's setup header; fields that an old protocol lacks have its documented default.
struct BzImage {
  uint16_t version;           // boot protocol, 0x020F is 2.15
  size_t header_end;          // file offset behind the setup header
  size_t payload_offset;      // file offset of the protected-mode code
  uint32_t load_address;      // code32_start: where it is loaded and entered
  uint32_t max_initrd;        // highest address an initrd byte may have
  uint32_t command_line_max;  // characters, the terminating zero not counted
  uint64_t memory_end;        // the kernel needs RAM up to here before it has read the memory map
};

/// A file to load: `name` is what error messages call it.
struct NamedImage {
  std::string name;
  std::span<const uint8_t> bytes;
};

/// Whether the file carries the boot sector signature and the setup header's "HdrS".
bool IsBzImage(std::span<const uint8_t> file);

/// Throws UsageError for truncated files, kernels that cannot be entered in 32-bit mode, and too old protocols.
BzImage ParseBzImage(const NamedImage& kernel);

struct LinuxBoot {
  NamedImage kernel;
  NamedImage initrd;  // no bytes: none
  std::string command_line;
  GuestPhysical acpi_rsdp;
  bool vga_text = false;  // there is a VGA, in text mode 3
};

/// Loads kernel, initrd, command line and zero page, and sets the CPU up at the kernel's 32-bit entry. Throws
/// UsageError where the kernel cannot be booted or something does not fit the RAM.
void LoadLinux(const LinuxBoot& boot, PhysicalMemory& memory, CpuState& cpu);

}  // namespace ring3
