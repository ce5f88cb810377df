// Colours as the attribute controller and the DAC make them (FreeVGA: Attribute Controller, Color registers).
#pragma once

#include <array>
#include <cstdint>

#include "devices/vga/vga.h"

namespace ring3 {

/// Colours as 00RRGGBBh.
struct Palette {
  std::array<uint32_t, 16> attributes{};  // by the four bits that planes or attributes give
  std::array<uint32_t, 256> direct{};     // by the DAC's index
  bool operator==(const Palette&) const = default;
};

Palette PaletteOf(const Vga& vga);

}  // namespace ring3
