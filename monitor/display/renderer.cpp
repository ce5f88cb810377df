#include "monitor/display/renderer.h"

#include <algorithm>

#include "monitor/display/graphics_lines.h"

namespace ring3 {
namespace {

constexpr uint32_t kPlanes = 4;
/// What a monitor shows before any mode is set.
constexpr int kFirstWidth = 720, kFirstHeight = 400;
constexpr uint8_t kBlinkBit = 0x80;

/// A style whose blinking stands still: what differs besides concerns every cell.
TextStyle Still(TextStyle style) {
  style.cursor_cell = TextStyle::kNoCell;
  style.cursor_first = style.cursor_last = 0;
  style.cursor_lit = style.blink_lit = true;
  return style;
}

void Add(std::vector<Rectangle>& rectangles, const Rectangle& line) {
  if (!rectangles.empty() && rectangles.back().y + rectangles.back().height == line.y) {
    rectangles.back() = Union(rectangles.back(), line);
  } else {
    rectangles.push_back(line);
  }
}

}  // namespace

Renderer::Scene Renderer::Look() {
  Scene scene;
  scene.mode = ModeOf(vga_);
  scene.palette = PaletteOf(vga_);
  if (scene.mode.kind == DisplayMode::Kind::kText) {
    scene.style = StyleOf(vga_);
    scene.font_generation = vga_.FontGeneration();
  }
  return scene;
}

Changes Renderer::Draw(Frame& frame) {
  Changes changes;
  Scene scene = Look();
  vga_.Memory().Collect();
  if (scene.mode.kind == DisplayMode::Kind::kBlank && frame.width != 0) {
    scene.mode.width = frame.width;
    scene.mode.height = frame.height;
  }
  Scene still = scene, before = scene_;
  still.style = Still(still.style);
  before.style = Still(before.style);
  all_ = !drawn_ || still != before;
  TextScreen text;
  if (scene.mode.kind == DisplayMode::Kind::kText) text = ReadText(vga_, scene.mode, scene.style);
  std::swap(scene_, scene);  // `scene` is the one before
  if (!text.cells.empty()) {
    CompareText(frame, text);
    const auto mark = [&](int row) {
      if (row >= 0 && row < static_cast<int>(rows_.size())) rows_[static_cast<size_t>(row)] = true;
    };
    if (scene.style != scene_.style) mark(text.cursor_row), mark(frame.text.cursor_row);
    if (scene.style.blink_lit != scene_.style.blink_lit) {
      for (size_t i = 0; i < text.cells.size(); ++i) {
        if (text.cells[i].attribute & kBlinkBit) mark(static_cast<int>(i) / text.columns);
      }
    }
  }
  changes.text = !(text == frame.text);
  frame.text = std::move(text);
  Resize(frame, changes);
  LineWalker line(scene_.mode);
  for (int y = 0; y < frame.height; ++y, line.Next()) {
    if (!LineMayDiffer(line, y)) continue;
    DrawLine(line, y, static_cast<size_t>(frame.width));
    StoreLine(frame, y, changes);
  }
  vga_.Memory().Clean();
  drawn_ = true;
  return changes;
}

void Renderer::Resize(Frame& frame, Changes& changes) const {
  DisplayMode mode = scene_.mode;
  if (mode.kind == DisplayMode::Kind::kBlank && frame.width == 0) {
    mode.width = kFirstWidth;
    mode.height = kFirstHeight;
  }
  if (frame.width == mode.width && frame.height == mode.height) return;
  frame.width = mode.width;
  frame.height = mode.height;
  frame.pixels.assign(static_cast<size_t>(mode.width) * static_cast<size_t>(mode.height), 0);
  changes.resized = true;
}

/// Finds the rows whose cells differ from those drawn last.
void Renderer::CompareText(const Frame& frame, const TextScreen& text) {
  rows_.assign(static_cast<size_t>(text.rows), false);
  if (frame.text.cells.size() != text.cells.size()) return rows_.assign(rows_.size(), true);
  const auto columns = static_cast<size_t>(text.columns);
  for (size_t row = 0; row < rows_.size(); ++row) {
    const auto first = static_cast<ptrdiff_t>(row * columns), end = static_cast<ptrdiff_t>((row + 1) * columns);
    rows_[row] = !std::equal(text.cells.begin() + first, text.cells.begin() + end, frame.text.cells.begin() + first);
  }
}

bool Renderer::LineMayDiffer(const LineWalker& line, int y) const {
  const DisplayMode& mode = scene_.mode;
  if (all_) return true;
  switch (mode.kind) {
    case DisplayMode::Kind::kBlank:
      return false;
    case DisplayMode::Kind::kText:
      return line.BelowSplit() || static_cast<size_t>(line.Row()) >= rows_.size() ||
             rows_[static_cast<size_t>(line.Row())];
    case DisplayMode::Kind::kLinear: {
      const uint32_t first = mode.linear.start + static_cast<uint32_t>(y) * mode.linear.pitch;
      return vga_.Memory().Dirty(first, first + mode.linear.pitch);
    }
    default: {
      const uint32_t first = line.Cell() & mode.cell_mask, end = first + static_cast<uint32_t>(mode.columns) + 1;
      if (end > mode.cell_mask) return true;  // it goes on at the start
      return vga_.Memory().Dirty(first * kPlanes, end * kPlanes);
    }
  }
}

/// Leaves the line in line_. A blank one is as wide as the frame, whatever the mode's registers say.
void Renderer::DrawLine(const LineWalker& line, int y, size_t width) {
  const DisplayMode& mode = scene_.mode;
  const uint8_t* memory = vga_.Memory().Data();
  line_.resize(width);
  if (mode.kind == DisplayMode::Kind::kBlank) return std::fill(line_.begin(), line_.end(), 0);
  if (mode.kind == DisplayMode::Kind::kLinear) {
    const uint32_t first = mode.linear.start + static_cast<uint32_t>(y) * mode.linear.pitch;
    return DrawLinearLine(memory + first, mode.linear.bits, scene_.palette, {line_.data(), width});
  }
  // One cell more than is shown: panning moves it in.
  const size_t dots = static_cast<size_t>(mode.columns + 1) * static_cast<size_t>(mode.dots);
  dots_.resize(dots);
  if (mode.kind == DisplayMode::Kind::kText) {
    DrawTextLine(memory, mode, scene_.style, scene_.palette, line.Cell(), line.RowLine(), dots_);
  } else {
    DrawCellLine(memory, mode, scene_.palette, line.Cell(), dots_);
  }
  const auto first = static_cast<size_t>(line.Panning()), step = static_cast<size_t>(mode.dot_width);
  for (size_t x = 0; x < width; ++x) line_[x] = dots_[first + x / step];
}

void Renderer::StoreLine(Frame& frame, int y, Changes& changes) const {
  uint32_t* row = frame.Row(y);
  const auto begin = line_.begin(), end = begin + frame.width;
  const auto first = std::mismatch(begin, end, row).first;
  if (first == end) return;
  auto last = end;
  while (*(last - 1) == row[last - 1 - begin]) --last;
  std::copy(first, last, row + (first - begin));
  Add(changes.rectangles, {static_cast<int>(first - begin), y, static_cast<int>(last - first), 1});
}

}  // namespace ring3
