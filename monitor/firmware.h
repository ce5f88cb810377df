// A PC's firmware: which ROM image starts, and what the machine tells it.
#pragma once

#include <string>

#include "devices/board.h"
#include "monitor/boot/acpi_tables.h"
#include "monitor/boot/little_endian.h"
#include "monitor/boot_order.h"
#include "monitor/options.h"

namespace ring3 {

/// The ROM image of a machine that starts by firmware: what --bios names, else SeaBIOS as Debian installs it. Throws
/// UsageError when it cannot be read. Empty where a kernel is loaded directly.
Bytes ReadFirmware(const Options& options);

/// Fills in the configuration device (memory map, ACPI and SMBIOS tables, what to boot) and CMOS for firmware such as
/// SeaBIOS. The board outlives the configuration device.
void DescribeMachine(Board& board, const Options& options, const BootOrder& order);

/// What the ACPI tables say of the board.
AcpiMachine AcpiMachineOf(Board& board, const Options& options);

/// CMOS: the letters to boot from, from the next RESET on.
void StoreBootLetters(Rtc146818& rtc, const std::string& letters);

}  // namespace ring3
