// Loads a Multiboot 1 kernel and its modules (Multiboot specification 0.6.96).
#pragma once

#include <string>
#include <vector>

#include "monitor/boot/multiboot_image.h"

namespace ring3 {

inline constexpr uint32_t kMultibootLoaderMagic = 0x2BADB002;

struct MultibootModule {
  NamedImage image;
  std::string command_line;  // what the kernel sees: by custom the file's name, then its arguments
};

struct MultibootBoot {
  NamedImage kernel;
  std::string command_line;
  std::vector<MultibootModule> modules;
};

/// Loads kernel and modules, writes the information structure and sets the CPU up at the kernel's entry. Throws
/// UsageError for malformed kernels and for what does not fit the RAM.
void LoadMultiboot(const MultibootBoot& boot, PhysicalMemory& memory, CpuState& cpu);

}  // namespace ring3
