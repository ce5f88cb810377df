#include "monitor/display/frame.h"

#include <algorithm>
#include <array>

namespace ring3 {
namespace {

// IBM PC character set; the first 32 are the pictures that the display memory's codes 00h-1Fh show.
constexpr std::array<char16_t, 32> kLow = {u' ', u'☺', u'☻', u'♥', u'♦', u'♣', u'♠', u'•', u'◘', u'○', u'◙',
                                           u'♂', u'♀', u'♪', u'♫', u'☼', u'►', u'◄', u'↕', u'‼', u'¶', u'§',
                                           u'▬', u'↨', u'↑', u'↓', u'→', u'←', u'∟', u'↔', u'▲', u'▼'};
constexpr char16_t kHouse = u'⌂';
constexpr std::array<char16_t, 128> kHigh = {
    u'Ç', u'ü', u'é', u'â', u'ä', u'à', u'å', u'ç', u'ê', u'ë', u'è', u'ï', u'î', u'ì', u'Ä', u'Å',
    u'É', u'æ', u'Æ', u'ô', u'ö', u'ò', u'û', u'ù', u'ÿ', u'Ö', u'Ü', u'¢', u'£', u'¥', u'₧', u'ƒ',
    u'á', u'í', u'ó', u'ú', u'ñ', u'Ñ', u'ª', u'º', u'¿', u'⌐', u'¬', u'½', u'¼', u'¡', u'«', u'»',
    u'░', u'▒', u'▓', u'│', u'┤', u'╡', u'╢', u'╖', u'╕', u'╣', u'║', u'╗', u'╝', u'╜', u'╛', u'┐',
    u'└', u'┴', u'┬', u'├', u'─', u'┼', u'╞', u'╟', u'╚', u'╔', u'╩', u'╦', u'╠', u'═', u'╬', u'╧',
    u'╨', u'╤', u'╥', u'╙', u'╘', u'╒', u'╓', u'╫', u'╪', u'┘', u'┌', u'█', u'▄', u'▌', u'▐', u'▀',
    u'α', u'ß', u'Γ', u'π', u'Σ', u'σ', u'µ', u'τ', u'Φ', u'Θ', u'Ω', u'δ', u'∞', u'φ', u'ε', u'∩',
    u'≡', u'±', u'≥', u'≤', u'⌠', u'⌡', u'÷', u'≈', u'°', u'∙', u'·', u'√', u'ⁿ', u'²', u'■', u'\u00A0'};

}  // namespace

Rectangle Union(const Rectangle& a, const Rectangle& b) {
  const int x = std::min(a.x, b.x), y = std::min(a.y, b.y);
  return {x, y, std::max(a.x + a.width, b.x + b.width) - x, std::max(a.y + a.height, b.y + b.height) - y};
}

char32_t FromCodePage437(uint8_t character) {
  if (character < kLow.size()) return kLow[character];
  if (character == 0x7F) return kHouse;
  if (character < 0x80) return character;
  return kHigh[character - 0x80];
}

std::string ToUtf8(char32_t c) {
  const auto tail = [&](unsigned shift) { return static_cast<char>(0x80 | (c >> shift & 0x3F)); };
  if (c < 0x80) return {static_cast<char>(c)};
  if (c < 0x800) return {static_cast<char>(0xC0 | c >> 6), tail(0)};
  return {static_cast<char>(0xE0 | c >> 12), tail(6), tail(0)};
}

std::string TextScreen::Utf8() const {
  std::string text;
  for (int row = 0; row < rows; ++row) {
    size_t end = text.size();
    for (int column = 0; column < columns; ++column) {
      const uint8_t character = cells[static_cast<size_t>(row * columns + column)].character;
      text += ToUtf8(FromCodePage437(character));
      if (character != 0 && character != ' ' && character != 0xFF) end = text.size();
    }
    text.resize(end);
    text += '\n';
  }
  return text;
}

}  // namespace ring3
