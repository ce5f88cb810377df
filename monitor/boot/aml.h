// A small encoder for ACPI Machine Language: each function returns the bytes of one term (ACPI specification 20.2) or
// of one resource descriptor (6.4). Terms nest by concatenation.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>

#include "monitor/boot/little_endian.h"

namespace ring3::aml {

/// "_SB" or "\\_SB": one name segment of up to four characters, padded, with an optional root prefix.
Bytes NamePath(std::string_view name);
/// The shortest constant for `value`.
Bytes Integer(uint32_t value);
/// A compressed EISA ID such as "PNP0A03", as an integer term (19.6.37, EISAID).
Bytes EisaId(std::string_view id);

Bytes Name(std::string_view name, const Bytes& value);
/// Up to 255 elements.
Bytes Package(std::span<const Bytes> elements);
Bytes Package(std::initializer_list<Bytes> elements);
Bytes Scope(std::string_view name, std::initializer_list<Bytes> terms);
Bytes Device(std::string_view name, std::initializer_list<Bytes> terms);

/// A buffer of descriptors, closed with an end tag.
Bytes ResourceTemplate(std::initializer_list<Bytes> descriptors);
/// Fixed ports [first, first+count), all 16 address bits decoded.
Bytes IoPorts(uint16_t first, uint8_t count);
/// One edge-triggered, active-high, exclusive line.
Bytes IsaInterrupt(unsigned line);
/// What a bus bridge passes on: bus numbers, port ranges, memory ranges; both ends included.
Bytes BusNumbers(uint16_t first, uint16_t last);
Bytes PortWindow(uint16_t first, uint16_t last);
Bytes MemoryWindow(uint32_t first, uint32_t last);

}  // namespace ring3::aml
