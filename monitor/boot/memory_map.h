// Guest-physical memory as the firmware would report it (INT 15h, AX=E820h), and where the loaders put their own data.
#pragma once

#include <cstdint>
#include <vector>

#include "shadowmmu/address.h"

namespace ring3 {

/// Address range types, ACPI specification table 15-2; Multiboot uses the same numbers.
enum class MemoryType : uint32_t { kUsable = 1, kReserved = 2 };

struct MemoryRegion {
  uint64_t base;
  uint64_t bytes;
  MemoryType type;

  uint64_t End() const { return base + bytes; }
  bool operator==(const MemoryRegion&) const = default;
};

namespace boot_layout {
/// End of conventional memory: the last KiB below 640 KiB is the extended BIOS data area.
inline constexpr uint64_t kLowMemoryEnd = 0x9FC00;
/// Start of the legacy video area; from here to 1 MiB nothing is the guest's to use.
inline constexpr uint64_t kVideoArea = 0xA0000;
/// Where the ACPI tables go: operating systems look for the RSDP in [0xE0000, 1 MiB).
inline constexpr uint64_t kAcpiTables = 0xE0000;
inline constexpr uint64_t kHighMemory = 0x100000;

// Linux boot data, all of it in conventional memory.
inline constexpr uint64_t kLinuxGdt = 0x1000;
inline constexpr uint64_t kLinuxZeroPage = 0x10000;
inline constexpr uint64_t kLinuxCommandLine = 0x20000;
/// A Multiboot kernel's boot data goes to the first gap in conventional memory from here on.
inline constexpr uint64_t kMultibootDataFloor = 0x1000;
}  // namespace boot_layout

/// The whole map for a machine with `ram_bytes` of RAM, ascending and without overlaps.
std::vector<MemoryRegion> BuildMemoryMap(uint64_t ram_bytes);

/// Whether [base, base+bytes) lies inside one usable region.
bool IsUsable(const std::vector<MemoryRegion>& map, uint64_t base, uint64_t bytes);

}  // namespace ring3
