// Makes the picture from the VGA's registers and memory, as far as these changed.
#pragma once

#include <cstdint>
#include <vector>

#include "monitor/display/display_mode.h"
#include "monitor/display/palette.h"
#include "monitor/display/surface.h"
#include "monitor/display/text_lines.h"

namespace ring3 {

/// For the vCPU thread.
class Renderer {
 public:
  explicit Renderer(Vga& vga) : vga_(vga) {}

  /// Brings `frame`, which it alone changes, up to date.
  Changes Draw(Frame& frame);

 private:
  struct Scene {
    DisplayMode mode;
    Palette palette;
    TextStyle style;
    uint32_t font_generation = 0;
    bool operator==(const Scene&) const = default;
  };

  Scene Look();
  void Resize(Frame& frame, Changes& changes) const;
  void CompareText(const Frame& frame, const TextScreen& text);
  bool LineMayDiffer(const LineWalker& line, int y) const;
  void DrawLine(const LineWalker& line, int y, size_t width);
  void StoreLine(Frame& frame, int y, Changes& changes) const;

  Vga& vga_;
  Scene scene_;  // as last drawn
  bool drawn_ = false, all_ = true;
  std::vector<bool> rows_;      // text rows to draw
  std::vector<uint32_t> dots_;  // a line before panning and widening
  std::vector<uint32_t> line_;
};

}  // namespace ring3
