// What the processor and the boot loader say.
#pragma once

#include <stdint.h>

namespace demo {

struct BootInfo {
  bool multiboot;
  bool has_memory, has_map;
  uint32_t lower_kib, upper_kib;  // below 640 KiB; above 1 MiB
  char command_line[128];
  char loader[64];
  struct Range {
    uint32_t base_low, base_high, bytes_low, bytes_high, type;
  } map[16];
  unsigned map_count;
};

/// Copies what is needed while paging is off: the loader may have put it anywhere.
BootInfo ReadBootInfo(uint32_t magic, uint32_t address);
void DescribeBoot(const BootInfo& info);
/// Prints CPUID's answers. False where a feature is missing that the rest cannot do without.
bool DescribeCpu();

}  // namespace demo
