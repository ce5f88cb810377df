#include "monitor/cpu/cpu.h"

#include <array>

namespace ring3 {

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
    watches[count++] = {GuestLinear(b.first), b.bytes, reads, static_cast<uint8_t>(b.Dr6Bit())};
  }
  memory.Watch({watches.data(), count});
  if (breakpoint_listener) breakpoint_listener->BreakpointsChanged(breakpoints.Armed());
}

}  // namespace ring3
