// Where the beam is: the CRT controller's timing as programmed, told from the clock (FreeVGA: CRT Controller).
#pragma once

#include <cstdint>

#include "devices/vga/vga_registers.h"

namespace ring3 {

/// One frame as the registers describe it. Lines and characters count from the first visible one.
struct FrameTiming {
  uint64_t dot_hertz = 0;
  uint32_t line_dots = 0, visible_dots = 0;
  uint32_t lines = 0, visible_lines = 0;
  uint32_t retrace_first = 0, retrace_lines = 0;

  bool operator==(const FrameTiming&) const = default;
  uint64_t FrameDots() const { return uint64_t{line_dots} * lines; }
  uint64_t FrameNs() const;
  /// Bits 0 and 3 of input status 1 at `ns` of the clock.
  uint8_t Status(uint64_t ns) const;
};

/// Any register contents give a frame of at least a few lines with a retrace in it: whoever waits for one goes on.
FrameTiming TimingOf(const VgaRegisters& registers);

/// Values that are spread over several registers of the CRT controller.
uint32_t VerticalDisplayEnd(const VgaRegisters& registers);
uint32_t LineCompare(const VgaRegisters& registers);

}  // namespace ring3
