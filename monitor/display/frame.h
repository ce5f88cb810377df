// A picture: what a monitor would show, and in text modes the characters it is made of.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ring3 {

struct Rectangle {
  int x = 0, y = 0, width = 0, height = 0;
  bool operator==(const Rectangle&) const = default;
};
/// The smallest that holds both.
Rectangle Union(const Rectangle& a, const Rectangle& b);

struct TextCell {
  uint8_t character = ' ', attribute = 0x07;  // code page 437; foreground in bits 0-3, background above
  bool operator==(const TextCell&) const = default;
};

/// Empty in graphics modes.
struct TextScreen {
  int columns = 0, rows = 0;
  std::vector<TextCell> cells;              // rows * columns
  int cursor_column = -1, cursor_row = -1;  // -1: not shown
  bool blink = true;                        // bit 7 of an attribute blinks rather than brightens the background

  bool operator==(const TextScreen&) const = default;
  /// Lines of UTF-8 without trailing blanks, each ended by a newline.
  std::string Utf8() const;
};

struct Frame {
  int width = 0, height = 0;
  std::vector<uint32_t> pixels;  // 00RRGGBBh, rows from the top
  TextScreen text;

  const uint32_t* Row(int y) const { return pixels.data() + static_cast<size_t>(y) * static_cast<size_t>(width); }
  uint32_t* Row(int y) { return pixels.data() + static_cast<size_t>(y) * static_cast<size_t>(width); }
};

/// The character of code page 437, as a PC's screen shows it, control characters included.
char32_t FromCodePage437(uint8_t character);
std::string ToUtf8(char32_t character);

}  // namespace ring3
