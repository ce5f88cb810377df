// The ACPI tables that describe the machine: RSDP, RSDT, XSDT, FADT, FACS, a DSDT, and a MADT where there are APICs.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "devices/layout.h"
#include "monitor/boot/little_endian.h"
#include "shadowmmu/physical_memory.h"

namespace ring3 {

/// Where a PCI device's memory may lie ends below the I/O APIC's customary place.
inline constexpr uint32_t kPciMemoryEnd = 0xFEC0'0000;

struct AcpiMachine {
  uint64_t ram_bytes = 0;
  uint16_t pm_base = layout::kPmBasePort;  // where the guest finds PM1 and the timer
  bool apic = false;                       // a MADT describes a local APIC and an I/O APIC
  bool hpet = false;
  unsigned serial_ports = 1;  // a bit for each of COM1 to COM4
};

/// The tables before it is known where they lie: pointers count from the start of `tables`.
struct AcpiImage {
  struct Pointer {
    bool in_rsdp;  // else in `tables`
    uint32_t offset;
    uint8_t bytes;  // 4 or 8
  };
  /// A byte that makes the sum of [start, start + bytes) zero.
  struct Checksum {
    bool in_rsdp;
    uint32_t offset, start, bytes;
  };
  Bytes rsdp, tables;
  std::vector<Pointer> pointers;
  std::vector<Checksum> checksums;  // to be made anew in this order
};

/// Its size does not depend on `pm_base`.
AcpiImage BuildAcpiImage(const AcpiMachine& machine);

/// All tables as one block for guest-physical address `base` (16-byte aligned), the RSDP first.
Bytes BuildAcpiTables(uint32_t base, const AcpiMachine& machine);

/// Writes the tables into the BIOS area, for the RAM that there is. Returns the RSDP's address.
GuestPhysical WriteAcpiTables(PhysicalMemory& memory, AcpiMachine machine);

}  // namespace ring3
