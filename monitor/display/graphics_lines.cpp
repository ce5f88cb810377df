#include "monitor/display/graphics_lines.h"

#include <array>
#include <cstring>

namespace ring3 {
namespace {

constexpr uint32_t kPlanes = 4, kCellDots = 8;

/// Eight bits to the lowest bits of eight nibbles, the leftmost dot in the lowest nibble.
constexpr std::array<uint32_t, 256> MakeNibbles() {
  std::array<uint32_t, 256> nibbles{};
  for (unsigned byte = 0; byte < nibbles.size(); ++byte) {
    for (unsigned dot = 0; dot < kCellDots; ++dot) nibbles[byte] |= (byte >> (7 - dot) & 1u) << (4 * dot);
  }
  return nibbles;
}
constexpr std::array<uint32_t, 256> kNibbles = MakeNibbles();

void DrawPlanar(const uint8_t* cell, const Palette& palette, uint32_t* out) {
  uint32_t dots = kNibbles[cell[0]] | kNibbles[cell[1]] << 1 | kNibbles[cell[2]] << 2 | kNibbles[cell[3]] << 3;
  for (unsigned dot = 0; dot < kCellDots; ++dot, dots >>= 4) out[dot] = palette.attributes[dots & 0x0F];
}

/// The first four pixels are in the even planes, the others in the odd ones; the high two bits come from planes 2
/// and 3.
void DrawInterleaved(const uint8_t* cell, const Palette& palette, uint32_t* out) {
  for (unsigned dot = 0; dot < kCellDots; ++dot) {
    const unsigned plane = dot / 4, shift = 6 - dot % 4 * 2;
    out[dot] = palette.attributes[(cell[plane] >> shift & 3) | (cell[plane + 2] >> shift & 3) << 2];
  }
}

void DrawBytes(const uint8_t* cell, const Palette& palette, uint32_t* out) {
  for (unsigned plane = 0; plane < kPlanes; ++plane) out[2 * plane] = out[2 * plane + 1] = palette.direct[cell[plane]];
}

/// Full scale for full scale.
constexpr uint32_t Widen(uint32_t value, unsigned bits) { return value << (8 - bits) | value >> (2 * bits - 8); }

uint32_t FromRgb(uint32_t value, unsigned green_bits) {
  const uint32_t blue = value & 0x1F, green = value >> 5 & ((1u << green_bits) - 1);
  const uint32_t red = value >> (5 + green_bits) & 0x1F;
  return Widen(red, 5) << 16 | Widen(green, green_bits) << 8 | Widen(blue, 5);
}

uint32_t Load(const uint8_t* from, unsigned bytes) {
  uint32_t value = 0;
  std::memcpy(&value, from, bytes);
  return value;
}

}  // namespace

void DrawCellLine(const uint8_t* memory, const DisplayMode& mode, const Palette& palette, uint32_t cell,
                  std::span<uint32_t> out) {
  for (size_t at = 0; at + kCellDots <= out.size(); at += kCellDots, ++cell) {
    const uint8_t* bytes = memory + size_t{cell & mode.cell_mask} * kPlanes;
    switch (mode.kind) {
      case DisplayMode::Kind::kInterleaved:
        DrawInterleaved(bytes, palette, &out[at]);
        break;
      case DisplayMode::Kind::kBytes:
        DrawBytes(bytes, palette, &out[at]);
        break;
      default:
        DrawPlanar(bytes, palette, &out[at]);
    }
  }
}

void DrawLinearLine(const uint8_t* line, uint32_t bits, const Palette& palette, std::span<uint32_t> out) {
  const auto draw = [&](unsigned bytes, auto colour) {
    for (size_t x = 0; x < out.size(); ++x) out[x] = colour(Load(line + x * bytes, bytes));
  };
  switch (bits) {
    case 8:
      return draw(1, [&](uint32_t value) { return palette.direct[value]; });
    case 15:
      return draw(2, [](uint32_t value) { return FromRgb(value, 5); });
    case 16:
      return draw(2, [](uint32_t value) { return FromRgb(value, 6); });
    case 24:
      return draw(3, [](uint32_t value) { return value; });
    default:
      return draw(4, [](uint32_t value) { return value & 0xFFFFFF; });
  }
}

}  // namespace ring3
