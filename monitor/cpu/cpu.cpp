#include "monitor/cpu/cpu.h"

#include <algorithm>

#include <array>

namespace ring3 {

void Cpu::ForgetX87Pointers() {
  // FXSAVE image, SDM 1 table 10-2: FOP, then FIP, FCS, FDP and FDS.
  constexpr unsigned kFop = 6, kBehindFds = 24;
  std::fill(&state.fxsave[kFop], &state.fxsave[kBehindFds], uint8_t{0});
}

void Cpu::PagingChanged() {
  const PagingState paging = Paging();
  memory.SetPaging(paging);
  mmu.SetPaging(paging);
}

void Cpu::Cr3Loaded() {
  const PagingState paging = Paging();
  memory.SetPaging(paging);
  mmu.LoadCr3(paging);
}

void Cpu::DebugRegistersChanged() {
  if (!breakpoints.Adopt(state)) return;
  std::array<LinearWatch, Breakpoints::kCount> watches;
  size_t count = 0;
  for (const Breakpoint& b : breakpoints.Armed()) {
    if (!b.IsData()) continue;
    const bool reads = b.kind == BreakpointKind::kAccess;
    watches[count++] = {.first = GuestLinear(b.first), .bytes = b.bytes, .reads = reads, .mark = b.Dr6Bit()};
  }
  memory.Watch(Watcher::kGuest, {watches.data(), count});
  if (breakpoint_listener) breakpoint_listener->BreakpointsChanged(breakpoints.Armed());
}

}  // namespace ring3
