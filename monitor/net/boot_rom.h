// The ROM with which a network card boots.
#pragma once

#include <cstdint>
#include <vector>

#include "devices/pci_device.h"
#include "monitor/net/expansion_options.h"

namespace ring3 {

/// What the card's romfile= names, else iPXE as Debian's ipxe-qemu has it; empty where that is not installed. The
/// vendor and device that the image says it is for are the function's then, because one image serves several
/// (PCI Firmware Specification, 5.1). Throws UsageError when a romfile= cannot be read.
std::vector<uint8_t> ReadBootRom(const ExpansionCard& card, const PciDevice& function);

}  // namespace ring3
