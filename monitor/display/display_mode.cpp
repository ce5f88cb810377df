#include "monitor/display/display_mode.h"

namespace ring3 {
namespace {

using namespace vga;

constexpr uint32_t kPlanes = 4;
constexpr int kGraphicsDots = 8;

bool ScreenOff(const VgaRegisters& r) {
  return !(r.attribute_index & attr::kIndexScreenOn) || (r.sequencer[seq::kClocking] & seq::kClockingOff);
}

DisplayMode::Kind KindOf(const VgaRegisters& r) {
  if (!(r.graphics[gfx::kMiscellaneous] & gfx::kMiscGraphics)) return DisplayMode::Kind::kText;
  const uint8_t mode = r.graphics[gfx::kMode];
  if (mode & gfx::kMode256) return DisplayMode::Kind::kBytes;
  return mode & gfx::kModeInterleave ? DisplayMode::Kind::kInterleaved : DisplayMode::Kind::kPlanar;
}

/// Dots, as the pixel panning register means them in each kind of mode.
int PanningOf(const VgaRegisters& r, DisplayMode::Kind kind, int dots) {
  const int value = r.attribute[attr::kPanning] & 0x0F;
  if (kind == DisplayMode::Kind::kBytes) return value & 6;
  if (dots == kGraphicsDots) return value & 7;
  return value >= 8 ? 0 : value + 1;
}

/// Which bits of a cell's number the row-scan counter replaces: 13 and 14 of the address in a plane, whose meaning
/// depends on how addresses count.
void SetRowBits(DisplayMode& mode, const VgaRegisters& r) {
  unsigned shift = 1;
  if (r.crtc[crtc::kMode] & crtc::kModeByte) shift = 0;
  if (r.crtc[crtc::kUnderline] & crtc::kUnderlineDoubleword) shift = 2;
  if (!(r.crtc[crtc::kMode] & crtc::kModeAddress13)) mode.row_bit0 = 1u << (13 - shift);
  if (!(r.crtc[crtc::kMode] & crtc::kModeAddress14)) mode.row_bit1 = 1u << (14 - shift);
}

DisplayMode VgaMode(const VgaRegisters& r) {
  DisplayMode mode;
  mode.kind = KindOf(r);
  const uint8_t clocking = r.sequencer[seq::kClocking];
  const bool nine = mode.kind == DisplayMode::Kind::kText && !(clocking & seq::kClockingEightDots);
  mode.dots = nine ? kGraphicsDots + 1 : kGraphicsDots;
  mode.columns = r.crtc[crtc::kHorizontalEnd] + 1;
  mode.dot_width = clocking & seq::kClockingHalf ? 2 : 1;
  mode.width = mode.columns * mode.dots * mode.dot_width;
  mode.height = static_cast<int>(VerticalDisplayEnd(r));
  mode.line_repeat = r.crtc[crtc::kMaximumRow] & crtc::kMaximumRowDouble ? 2 : 1;
  mode.row_lines = (r.crtc[crtc::kMaximumRow] & crtc::kRowMask) + 1u;
  const uint32_t byte_panning = r.crtc[crtc::kPresetRow] >> 5 & 3;
  mode.start = (r.crtc[crtc::kStartHigh] << 8 | r.crtc[crtc::kStartLow]) + byte_panning;
  mode.pitch = r.crtc[crtc::kOffset] * 2u;
  mode.first_row_line = r.crtc[crtc::kPresetRow] & crtc::kRowMask;
  mode.panning = PanningOf(r, mode.kind, mode.dots);
  mode.line_compare = LineCompare(r);
  mode.compare_ends_panning = r.attribute[attr::kMode] & attr::kModePanCompare;
  if (mode.kind != DisplayMode::Kind::kText) SetRowBits(mode, r);
  return mode;
}

DisplayMode BochsMode(const LinearMode& linear, uint32_t memory_bytes) {
  DisplayMode mode;
  mode.kind = linear.bits == 4 ? DisplayMode::Kind::kPlanar : DisplayMode::Kind::kLinear;
  mode.linear = linear;
  mode.width = static_cast<int>(linear.width);
  mode.height = static_cast<int>(linear.height);
  mode.columns = mode.width / kGraphicsDots;
  mode.start = linear.start;
  mode.pitch = linear.pitch;
  mode.panning = static_cast<int>(linear.first_pixel);
  mode.cell_mask = memory_bytes / kPlanes - 1;
  return mode;
}

}  // namespace

DisplayMode ModeOf(const Vga& vga) {
  DisplayMode mode = vga.Bochs().Enabled() ? BochsMode(vga.Bochs().Mode(), vga.MemorySize()) : VgaMode(vga.Registers());
  if (ScreenOff(vga.Registers())) mode.kind = DisplayMode::Kind::kBlank;
  return mode;
}

uint32_t LineWalker::Cell() const {
  uint32_t cell = row_cell_;
  if (mode_.row_bit0) cell = (cell & ~mode_.row_bit0) | (row_line_ & 1 ? mode_.row_bit0 : 0);
  if (mode_.row_bit1) cell = (cell & ~mode_.row_bit1) | (row_line_ & 2 ? mode_.row_bit1 : 0);
  return cell;
}

void LineWalker::Next() {
  if (y_++ == mode_.line_compare) {
    row_cell_ = row_line_ = 0;
    repeated_ = row_ = 0;
    below_split_ = true;
    if (mode_.compare_ends_panning) panning_ = 0;
    return;
  }
  if (++repeated_ < mode_.line_repeat) return;
  repeated_ = 0;
  if (row_line_ + 1 != mode_.row_lines) {
    row_line_ = (row_line_ + 1) & vga::crtc::kRowMask;
    return;
  }
  row_line_ = 0;
  row_cell_ += mode_.pitch;
  ++row_;
}

}  // namespace ring3
