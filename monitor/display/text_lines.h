// Text modes: characters and attributes in planes 0 and 1, their pictures in plane 2 (FreeVGA: VGA Text Mode
// Operation).
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "monitor/display/display_mode.h"
#include "monitor/display/frame.h"
#include "monitor/display/palette.h"

namespace ring3 {

/// What a text screen is drawn with, apart from its cells.
struct TextStyle {
  static constexpr uint32_t kNoCell = ~0u;

  std::array<uint32_t, 2> fonts{};             // offset in plane 2, by bit 3 of the attribute
  uint32_t cursor_cell = kNoCell;              // kNoCell: switched off
  uint32_t cursor_first = 0, cursor_last = 0;  // lines in the cell
  uint32_t underline = 0;                      // line in the cell, in monochrome modes
  bool mono = false, line_graphics = false, blink = false;
  bool cursor_lit = true, blink_lit = true;  // phases

  bool operator==(const TextStyle&) const = default;
};

TextStyle StyleOf(Vga& vga);

/// The characters that are shown, without split screens.
TextScreen ReadText(Vga& vga, const DisplayMode& mode, const TextStyle& style);

/// Draws one line of `out.size() / mode.dots` cells from `cell`.
void DrawTextLine(const uint8_t* memory, const DisplayMode& mode, const TextStyle& style, const Palette& palette,
                  uint32_t cell, uint32_t row_line, std::span<uint32_t> out);

}  // namespace ring3
