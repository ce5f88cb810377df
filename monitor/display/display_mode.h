// What the VGA's registers make of its memory: the kind of picture, its size, and where each line comes from
// (FreeVGA: VGA Video Modes, CRT Controller).
#pragma once

#include <cstdint>

#include "devices/vga/vga.h"

namespace ring3 {

/// The picture of a monitor: half dot clocks, doubled lines and two-dot pixels are drawn as wide and high as they look.
struct DisplayMode {
  enum class Kind : uint8_t {
    kBlank,
    kText,
    kPlanar,       // 16 colours, a bit of each pixel in each plane
    kInterleaved,  // two bits of a pixel next to each other, as in the CGA's four colours
    kBytes,        // 256 colours, a pixel in each plane; chained or not
    kLinear,       // Bochs extension
  };

  Kind kind = Kind::kBlank;
  int width = 0, height = 0;
  int columns = 0;                // cells of a line: characters, or four bytes of graphics
  int dots = 8;                   // of a cell
  int dot_width = 1;              // 2 at half the dot clock
  int line_repeat = 1;            // 2 for doubled lines
  uint32_t row_lines = 1;         // scan lines of a row of cells, before doubling
  uint32_t start = 0, pitch = 0;  // cells
  uint32_t cell_mask = 0xFFFF;
  uint32_t first_row_line = 0;
  int panning = 0;              // dots at the left that are not shown
  uint32_t line_compare = ~0u;  // after this line the picture goes on with cell 0
  bool compare_ends_panning = false;
  // Address bits of a cell that row-scan bits 0 and 1 replace; 0 for none.
  uint32_t row_bit0 = 0, row_bit1 = 0;
  LinearMode linear;  // kLinear, and kPlanar by the Bochs extension

  bool operator==(const DisplayMode&) const = default;
};

DisplayMode ModeOf(const Vga& vga);

/// Goes through the scan lines from the top.
class LineWalker {
 public:
  explicit LineWalker(const DisplayMode& mode)
      : mode_(mode), row_cell_(mode.start), row_line_(mode.first_row_line), panning_(mode.panning) {}

  uint32_t RowLine() const { return row_line_; }
  int Panning() const { return panning_; }
  /// Rows of cells gone by since the top, or since the split.
  int Row() const { return row_; }
  bool BelowSplit() const { return below_split_; }
  /// The first cell of this line, before the cell mask.
  uint32_t Cell() const;
  void Next();

 private:
  const DisplayMode& mode_;
  uint32_t y_ = 0, row_cell_, row_line_;
  int repeated_ = 0, row_ = 0, panning_;
  bool below_split_ = false;
};

}  // namespace ring3
