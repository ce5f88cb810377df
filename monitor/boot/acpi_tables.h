// The ACPI tables that describe the machine: RSDP, RSDT, XSDT, FADT, FACS and a DSDT. There is no MADT, because there
// is no APIC.
#pragma once

#include <cstdint>
#include <span>

#include "monitor/boot/little_endian.h"
#include "shadowmmu/physical_memory.h"

namespace ring3 {

/// Where a PCI device's memory may lie ends below the I/O APIC's customary place.
inline constexpr uint32_t kPciMemoryEnd = 0xFEC0'0000;

/// All tables as one block for guest-physical address `base` (16-byte aligned), the RSDP first.
Bytes BuildAcpiTables(uint32_t base, uint64_t ram_bytes);

/// Writes the tables into the BIOS area. Returns the RSDP's address.
GuestPhysical WriteAcpiTables(PhysicalMemory& memory);

}  // namespace ring3
