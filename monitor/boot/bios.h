// A firmware image in place of a kernel: the processor starts at its reset vector, and what happens then is its
// business.
#pragma once

#include <string>

#include "monitor/boot/little_endian.h"
#include "shadowmmu/physical_memory.h"

namespace ring3 {

/// Reads a raw ROM image of 64, 128, 192 or 256 KiB. Throws UsageError for anything else.
Bytes ReadBios(const std::string& path);

/// Puts `image`, as long as the memory's ROM, at the end of the 4 GiB. (The host bridge shows its end below 1 MiB.)
void InstallBios(const Bytes& image, PhysicalMemory& memory);

}  // namespace ring3
