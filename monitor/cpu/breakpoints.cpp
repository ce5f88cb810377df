#include "monitor/cpu/breakpoints.h"

namespace ring3 {
namespace {

constexpr unsigned kEnableBits = 2, kEnableMask = 3;                      // Ln and Gn
constexpr unsigned kControlShift = 16, kControlBits = 4, kFieldMask = 3;  // R/Wn below LENn
constexpr std::array<uint32_t, 4> kLengths{1, 2, 8, 4};                   // 10b: 8 where it means anything

bool Enabled(const CpuState& state, unsigned number) { return state.dr[7] >> (kEnableBits * number) & kEnableMask; }

Breakpoint Read(const CpuState& state, unsigned number) {
  const uint32_t control = state.dr[7] >> (kControlShift + kControlBits * number);
  const auto kind = static_cast<BreakpointKind>(control & kFieldMask);
  const uint32_t bytes = kind == BreakpointKind::kExecute ? 1 : kLengths[control >> 2 & kFieldMask];
  return {kind, static_cast<uint8_t>(number), state.dr[number] & ~(bytes - 1), bytes};
}

}  // namespace

bool Breakpoints::Adopt(const CpuState& state) {
  std::array<Breakpoint, kCount> armed{};
  unsigned count = 0;
  for (unsigned i = 0; i < kCount; ++i) {
    if (!Enabled(state, i)) continue;
    const Breakpoint breakpoint = Read(state, i);
    // Without debug extensions R/W = 10b is undefined.
    if (breakpoint.kind == BreakpointKind::kIo && !(state.cr4 & cr4::kDe)) continue;
    armed[count++] = breakpoint;
  }
  if (count == count_ && armed == armed_) return false;
  armed_ = armed;
  count_ = count;
  ++generation_;
  return true;
}

uint32_t Breakpoints::Hits(BreakpointKind kind, uint32_t first, uint32_t bytes) const {
  uint32_t bits = 0;
  for (const Breakpoint& breakpoint : Armed()) {
    if (breakpoint.kind == kind && breakpoint.Overlaps(first, bytes)) bits |= breakpoint.Dr6Bit();
  }
  return bits;
}

}  // namespace ring3
