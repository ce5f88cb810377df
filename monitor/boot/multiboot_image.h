// What a Multiboot 1 kernel file asks for: its header, and its segments from the a.out fields or an ELF32 file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "monitor/boot/linux_boot.h"

namespace ring3 {

struct MultibootSegment {
  uint64_t address;                // guest-physical
  std::span<const uint8_t> bytes;  // from the file
  uint64_t memory_bytes;           // bytes.size() and the zeros after them

  uint64_t End() const { return address + memory_bytes; }
};

struct MultibootImage {
  bool page_align_modules;
  std::vector<MultibootSegment> segments;  // ascending, none empty, none overlapping
  uint32_t entry;                          // guest-physical
};

/// Whether a valid Multiboot 1 header lies in the first 8 KiB.
bool IsMultiboot(std::span<const uint8_t> file);

/// Throws UsageError for malformed or truncated files, 64-bit ones, and headers that demand unknown features.
/// The segments refer to the kernel's bytes.
MultibootImage ParseMultiboot(const NamedImage& kernel);

}  // namespace ring3
