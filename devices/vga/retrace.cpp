#include "devices/vga/retrace.h"

#include "devices/clock.h"

namespace ring3 {
namespace {

using namespace vga;

constexpr uint64_t kDotClocks[] = {25'175'000, 28'322'000, 25'175'000, 25'175'000};  // the last two are not wired
constexpr uint32_t kHorizontalSlack = 5, kVerticalSlack = 2;                         // what the totals leave out
constexpr uint32_t kLeastRetrace = 2;

/// A 10-bit line number: low byte in a register of its own, bits 8 and 9 in the overflow register.
uint32_t Lines(const VgaRegisters& r, uint8_t low, unsigned bit8, unsigned bit9) {
  const uint8_t overflow = r.crtc[crtc::kOverflow];
  return r.crtc[low] | (overflow >> bit8 & 1u) << 8 | (overflow >> bit9 & 1u) << 9;
}

}  // namespace

uint32_t VerticalDisplayEnd(const VgaRegisters& r) { return Lines(r, crtc::kVerticalEnd, 1, 6) + 1; }

uint32_t LineCompare(const VgaRegisters& r) {
  const bool bit8 = r.crtc[crtc::kOverflow] & crtc::kOverflowCompare8;
  const bool bit9 = r.crtc[crtc::kMaximumRow] & crtc::kMaximumRowCompare9;
  return r.crtc[crtc::kLineCompare] | (bit8 ? 0x100u : 0) | (bit9 ? 0x200u : 0);
}

FrameTiming TimingOf(const VgaRegisters& r) {
  FrameTiming timing;
  const uint8_t clocking = r.sequencer[seq::kClocking];
  const uint32_t dots = clocking & seq::kClockingEightDots ? 8 : 9;
  timing.dot_hertz = kDotClocks[r.miscellaneous >> kMiscClockShift & kMiscClockMask];
  if (clocking & seq::kClockingHalf) timing.dot_hertz /= 2;
  timing.line_dots = (r.crtc[crtc::kHorizontalTotal] + kHorizontalSlack) * dots;
  timing.visible_dots = (r.crtc[crtc::kHorizontalEnd] + 1u) * dots;
  timing.visible_lines = VerticalDisplayEnd(r);
  timing.lines = Lines(r, crtc::kVerticalTotal, 0, 5) + kVerticalSlack;
  timing.retrace_first = Lines(r, crtc::kRetraceStart, 2, 7);
  // The end register holds the low four bits of the line where retrace stops.
  timing.retrace_lines = (r.crtc[crtc::kRetraceEnd] - timing.retrace_first) & crtc::kRetraceEndMask;
  if (timing.retrace_lines == 0) timing.retrace_lines = crtc::kRetraceEndMask + 1;
  if (timing.retrace_first == 0 || timing.retrace_first + kLeastRetrace > timing.lines) {
    timing.lines += kLeastRetrace;
    timing.retrace_first = timing.lines - kLeastRetrace;
    timing.retrace_lines = kLeastRetrace;
  }
  return timing;
}

uint64_t FrameTiming::FrameNs() const { return TicksToNanoseconds(FrameDots(), dot_hertz); }

uint8_t FrameTiming::Status(uint64_t ns) const {
  const uint64_t dot = NanosecondsToTicks(ns, dot_hertz) % FrameDots();
  const auto line = static_cast<uint32_t>(dot / line_dots), in_line = static_cast<uint32_t>(dot % line_dots);
  uint8_t status = 0;
  if (line >= visible_lines || in_line >= visible_dots) status |= kStatus1Disabled;
  if (line >= retrace_first && line < retrace_first + retrace_lines) status |= kStatus1Retrace | kStatus1Disabled;
  return status;
}

}  // namespace ring3
