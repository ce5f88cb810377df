// A VGA with a renderer behind it, set to modes as a BIOS sets them.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "devices/vga/vga.h"
#include "monitor/display/renderer.h"

namespace ring3 {

/// Register contents of a mode (IBM VGA technical reference, mode tables).
struct ModeTable {
  uint8_t miscellaneous;
  std::array<uint8_t, vga::seq::kCount> sequencer;
  std::array<uint8_t, vga::crtc::kCount> crtc;
  std::array<uint8_t, vga::gfx::kCount> graphics;
  std::array<uint8_t, vga::attr::kCount> attribute;
};
extern const ModeTable kMode03, kMode04, kMode06, kMode0D, kMode12, kMode13;

struct Scene {
  explicit Scene(uint32_t memory_bytes = 256u << 10) : memory(memory_bytes), vga(clock, memory), renderer(vga) {}

  void Out(uint16_t port, uint8_t value) { vga.WritePort(port, 1, value); }
  uint8_t In(uint16_t port) { return static_cast<uint8_t>(vga.ReadPort(port, 1)); }
  void Sequencer(uint8_t index, uint8_t value) { Out(0x3C4, index), Out(0x3C5, value); }
  void Graphics(uint8_t index, uint8_t value) { Out(0x3CE, index), Out(0x3CF, value); }
  void Crtc(uint8_t index, uint8_t value) { Out(0x3D4, index), Out(0x3D5, value); }
  void Attribute(uint8_t index, uint8_t value);
  void Bochs(uint16_t index, uint16_t value);
  void Colour(uint8_t index, uint8_t red, uint8_t green, uint8_t blue);

  void Set(const ModeTable& mode);
  /// The BIOS's sixteen colours, and a ramp in those beyond 64.
  void SetColours();
  /// Each character's picture is its code in hexadecimal.
  void LoadFont();

  void Write(uint32_t address, uint8_t value) { vga.Window().WriteMmio(GuestPhysical(address), 1, value); }
  uint8_t Read(uint32_t address) { return static_cast<uint8_t>(vga.Window().ReadMmio(GuestPhysical(address), 1)); }
  void Print(int column, int row, uint8_t attribute, const std::string& text);

  Changes Draw() { return renderer.Draw(frame); }
  uint32_t Pixel(int x, int y) const { return frame.Row(y)[x]; }
  /// Draws it and gives its hash (FNV-1a over size and pixels). With RING3_PICTURES=DIR in the environment the picture
  /// is kept there as a PNG, to be looked at.
  uint64_t Picture(const std::string& name);

  ManualClock clock;
  VideoMemory memory;
  Vga vga;
  Renderer renderer;
  Frame frame;
};

}  // namespace ring3
