#include "monitor/display/text_lines.h"

#include <algorithm>

namespace ring3 {
namespace {

using namespace vga;

constexpr uint32_t kPlanes = 4, kFontPlane = 2, kGlyphStride = 32;
constexpr uint32_t kFontUnit = 0x2000;                    // fonts begin at multiples of 8 KiB
constexpr uint64_t kCursorFrames = 8, kBlinkFrames = 16;  // half a period
constexpr uint8_t kBlinkBit = 0x80, kBrightBit = 0x08, kUnderlined = 0x01, kUnderlineMask = 0x77;
constexpr uint8_t kFirstLineGraphic = 0xC0, kLastLineGraphic = 0xDF;

/// Selects 0-3 are the even units from the start, 4-7 the odd ones.
uint32_t FontOffset(unsigned select) { return ((select & 3) * 2 + (select >> 2)) * kFontUnit; }

uint16_t CursorCell(const VgaRegisters& r) {
  return static_cast<uint16_t>(r.crtc[crtc::kCursorHigh] << 8 | r.crtc[crtc::kCursorLow]);
}

struct CellColours {
  uint32_t foreground, background;
};

CellColours ColoursOf(const TextStyle& style, const Palette& palette, uint8_t attribute) {
  uint8_t background = attribute >> 4;
  uint32_t foreground = palette.attributes[attribute & 0x0F];
  if (style.blink) {
    background &= static_cast<uint8_t>(~kBrightBit);
    if ((attribute & kBlinkBit) && !style.blink_lit) foreground = palette.attributes[background];
  }
  return {foreground, palette.attributes[background]};
}

}  // namespace

TextStyle StyleOf(Vga& vga) {
  const VgaRegisters& r = vga.Registers();
  TextStyle style;
  const unsigned map = r.sequencer[seq::kCharacterMap];
  style.fonts[0] = FontOffset((map & 3) | (map >> 2 & 4));
  style.fonts[1] = FontOffset((map >> 2 & 3) | (map >> 3 & 4));
  const uint8_t mode = r.attribute[attr::kMode];
  style.mono = mode & attr::kModeMono;
  style.line_graphics = mode & attr::kModeLineGraphics;
  style.blink = mode & attr::kModeBlink;
  style.underline = r.crtc[crtc::kUnderline] & crtc::kRowMask;
  style.cursor_first = r.crtc[crtc::kCursorStart] & crtc::kRowMask;
  style.cursor_last = r.crtc[crtc::kCursorEnd] & crtc::kRowMask;
  const bool shown = !(r.crtc[crtc::kCursorStart] & crtc::kCursorOff) && style.cursor_first <= style.cursor_last;
  if (shown) style.cursor_cell = CursorCell(r);
  const uint64_t frames = vga.Frames();
  style.cursor_lit = frames / kCursorFrames % 2 == 0;
  style.blink_lit = frames / kBlinkFrames % 2 == 0;
  return style;
}

TextScreen ReadText(Vga& vga, const DisplayMode& mode, const TextStyle& style) {
  TextScreen text;
  const int row_height = static_cast<int>(mode.row_lines) * mode.line_repeat;
  text.columns = mode.columns;
  text.rows = std::max(1, mode.height / row_height);
  text.blink = style.blink;
  text.cells.reserve(static_cast<size_t>(text.columns * text.rows));
  const uint8_t* memory = vga.Memory().Data();
  for (int row = 0; row < text.rows; ++row) {
    const uint32_t first = mode.start + static_cast<uint32_t>(row) * mode.pitch;
    for (int column = 0; column < text.columns; ++column) {
      const uint32_t cell = (first + static_cast<uint32_t>(column)) & mode.cell_mask;
      text.cells.push_back({memory[cell * kPlanes], memory[cell * kPlanes + 1]});
      if (cell != style.cursor_cell) continue;
      text.cursor_column = column;
      text.cursor_row = row;
    }
  }
  return text;
}

void DrawTextLine(const uint8_t* memory, const DisplayMode& mode, const TextStyle& style, const Palette& palette,
                  uint32_t cell, uint32_t row_line, std::span<uint32_t> out) {
  const auto dots = static_cast<size_t>(mode.dots);
  for (size_t at = 0; at + dots <= out.size(); at += dots, ++cell) {
    const uint32_t index = cell & mode.cell_mask;
    const uint8_t character = memory[index * kPlanes], attribute = memory[index * kPlanes + 1];
    const CellColours colours = ColoursOf(style, palette, attribute);
    const uint32_t font = style.fonts[(attribute & kBrightBit) != 0];
    uint32_t bits = memory[(font + character * kGlyphStride + row_line) * kPlanes + kFontPlane] << 1;
    const bool joins = style.line_graphics && character >= kFirstLineGraphic && character <= kLastLineGraphic;
    if (joins) bits |= bits >> 1 & 1;
    const bool on_cursor = index == style.cursor_cell && style.cursor_lit && row_line >= style.cursor_first &&
                           row_line <= style.cursor_last;
    const bool underlined = style.mono && (attribute & kUnderlineMask) == kUnderlined && row_line == style.underline;
    if (on_cursor || underlined) bits = 0x1FF;
    for (size_t dot = 0; dot < dots; ++dot) {
      out[at + dot] = bits >> (8 - dot) & 1 ? colours.foreground : colours.background;
    }
  }
}

}  // namespace ring3
