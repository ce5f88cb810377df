// The video BIOS of Debian's seabios package.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace ring3 {

/// Empty where the package is not installed.
std::vector<uint8_t> ReadVgaBios();
/// The 8 by 16 font in a video BIOS: 256 characters of 16 bytes, found by the shape that every such font has. Empty
/// where there is none.
std::span<const uint8_t> FindFont(std::span<const uint8_t> bios);

}  // namespace ring3
