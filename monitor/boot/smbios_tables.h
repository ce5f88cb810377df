// SMBIOS structures that describe the machine (DMTF DSP0134, version 2.8), in the form in which firmware takes them
// from the firmware configuration device.
#pragma once

#include <cstdint>

#include "monitor/boot/little_endian.h"

namespace ring3 {

struct SmbiosImage {
  Bytes anchor;  // the entry point; firmware fills in the table's address and both checksums
  Bytes tables;
};

/// BIOS information (type 0) is the firmware's to add.
SmbiosImage BuildSmbios(uint64_t ram_bytes);

}  // namespace ring3
