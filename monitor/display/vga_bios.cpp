#include "monitor/display/vga_bios.h"

#include <algorithm>
#include <fstream>
#include <iterator>

#include "devices/vga/video_card.h"

namespace ring3 {
namespace {

constexpr const char* kPath = "/usr/share/seabios/vgabios-stdvga.bin";
constexpr size_t kGlyphBytes = 16, kFontBytes = 256 * kGlyphBytes;

bool IsBlank(std::span<const uint8_t> glyph) {
  return std::all_of(glyph.begin(), glyph.end(), [](uint8_t line) { return line == 0; });
}

/// Nothing and the space are blank, the full block is full, its halves are halves, and letters are neither.
bool IsFont(std::span<const uint8_t> bytes) {
  const auto glyph = [&](unsigned character) { return bytes.subspan(character * kGlyphBytes, kGlyphBytes); };
  const auto all = [](std::span<const uint8_t> lines, uint8_t value) {
    return std::all_of(lines.begin(), lines.end(), [&](uint8_t line) { return line == value; });
  };
  if (!all(glyph(0xDB), 0xFF) || !all(glyph(0xDD), 0xF0) || !all(glyph(0xDE), 0x0F)) return false;
  if (!IsBlank(glyph(0)) || !IsBlank(glyph(' ')) || !IsBlank(glyph(0xFF))) return false;
  for (unsigned letter = 'A'; letter <= 'Z'; ++letter) {
    if (IsBlank(glyph(letter)) || !IsBlank(glyph(letter).first(2))) return false;
  }
  return true;
}

}  // namespace

std::vector<uint8_t> ReadVgaBios() {
  std::ifstream file(kPath, std::ios::binary);
  std::vector<uint8_t> bytes{std::istreambuf_iterator<char>(file), {}};
  if (bytes.size() > VideoCard::kMostBiosBytes) bytes.clear();
  return bytes;
}

std::span<const uint8_t> FindFont(std::span<const uint8_t> bios) {
  for (size_t at = 0; at + kFontBytes <= bios.size(); ++at) {
    if (IsFont(bios.subspan(at, kFontBytes))) return bios.subspan(at, kFontBytes);
  }
  return {};
}

}  // namespace ring3
