#include "monitor/display/palette.h"

namespace ring3 {

Palette PaletteOf(const Vga& vga) {
  using namespace vga;
  const auto& attribute = vga.Registers().attribute;
  const uint8_t select = attribute[attr::kColourSelect];
  Palette palette;
  for (unsigned i = 0; i < palette.direct.size(); ++i) palette.direct[i] = vga.Dac().Colour(static_cast<uint8_t>(i));
  for (unsigned i = 0; i < palette.attributes.size(); ++i) {
    unsigned index = attribute[i & attribute[attr::kPlaneEnable] & 0x0F] & 0x3F;
    if (attribute[attr::kMode] & attr::kModeSelect54) index = (index & 0x0F) | (select & 3) << 4;
    palette.attributes[i] = palette.direct[index | (select & 0x0C) << 4];
  }
  return palette;
}

}  // namespace ring3
