// Synthetic kernels, each field in a test's hand.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "monitor/boot/linux_boot.h"
#include "monitor/boot/little_endian.h"
#include "monitor/cpu/fault.h"
#include "shadowmmu/physical_memory.h"

namespace ring3 {

struct BzImageFields {
  uint16_t version = 0x020F;
  uint8_t setup_sectors = 3;
  uint8_t load_flags = 0x81;  // LOADED_HIGH, CAN_USE_HEAP
  uint16_t xload_flags = 0;
  uint32_t code32_start = 0x100000;
  uint32_t max_initrd = 0x7FFFFFFF;
  uint32_t command_line_size = 2047;
  uint64_t preferred_address = 0x1000000;
  uint32_t init_size = 0x400000;
  size_t payload_bytes = 5000;
};

/// A bzImage whose payload bytes count up.
Bytes MakeBzImage(const BzImageFields& fields);

/// A Multiboot header (12 bytes, or 32 with the address fields' flag) as a file's start.
Bytes MultibootHeader(uint32_t flags);

struct ElfSegment {
  uint32_t virtual_address, physical_address;
  Bytes content;
  uint32_t memory_size;
};

/// An ELF32 executable with a Multiboot header in its first bytes after the program headers.
Bytes MakeMultibootElf(uint32_t flags, uint32_t entry, const std::vector<ElfSegment>& segments);

/// The message of the UsageError that `run` throws; fails when it throws none.
std::string UsageMessage(const std::function<void()>& run);

/// The bytes at a guest-physical address.
Bytes GuestBytes(const PhysicalMemory& memory, uint64_t address, size_t size);
std::string GuestString(const PhysicalMemory& memory, uint64_t address);

}  // namespace ring3
