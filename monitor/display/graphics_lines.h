// Lines of graphics modes as 32-bit pixels.
#pragma once

#include <cstdint>
#include <span>

#include "monitor/display/display_mode.h"
#include "monitor/display/palette.h"

namespace ring3 {

/// Draws `out.size() / 8` cells from `cell`, each as eight dots. For kPlanar, kInterleaved and kBytes.
void DrawCellLine(const uint8_t* memory, const DisplayMode& mode, const Palette& palette, uint32_t cell,
                  std::span<uint32_t> out);

/// Draws `out.size()` pixels of a linear mode from `line`, which has them all.
void DrawLinearLine(const uint8_t* line, uint32_t bits, const Palette& palette, std::span<uint32_t> out);

}  // namespace ring3
