// The engine's side of a debugger outside the guest. Code addresses are left untranslated, so that every way to them
// leads through the engine's loop; pages with watched data are mapped nowhere, so that the interpreter makes the
// accesses.
#include <algorithm>
#include <bit>

#include "monitor/bt_engine.h"

namespace ring3 {
namespace {

/// A REP instruction that comes back for interrupts counts as one step, unless it takes very long.
constexpr unsigned kMostChunks = 4096;

}  // namespace

void BtEngine::SetDebugStops(const DebugStops& stops) {
  debug_ = stops;
  translator_.SetStops(debug_.code);
  std::vector<LinearWatch> watches;
  for (unsigned i = 0; i < debug_.data.size() && i < DebugStops::kMostWatches; ++i) {
    const DebugWatch& watch = debug_.data[i];
    for (uint32_t done = 0; done < watch.bytes;) {
      const GuestLinear first = watch.first + done;
      const uint32_t bytes = std::min(watch.bytes - done, kPageSize - first.PageOffset());
      watches.push_back(
          {.first = first, .bytes = bytes, .reads = watch.reads, .writes = watch.writes, .mark = 1u << i});
      done += bytes;
    }
  }
  vcpu_.cpu.memory.Watch(Watcher::kDebugger, watches);
  vcpu_.cpu.memory.TakeMarks(Watcher::kDebugger);
  WithholdPages();
}

void BtEngine::BreakpointsChanged(std::span<const Breakpoint>) { WithholdPages(); }

/// Pages with breakpoints are not mapped: what happens in them happens in the interpreter, which knows.
void BtEngine::WithholdPages() {
  withheld_.clear();
  for (const Breakpoint& breakpoint : vcpu_.cpu.breakpoints.Armed()) {
    if (breakpoint.kind != BreakpointKind::kIo) withheld_.push_back(GuestLinear(breakpoint.first).Page());
  }
  for (const DebugWatch& watch : debug_.data) {
    const uint32_t in_page = watch.first.PageOffset();
    for (uint32_t at = 0; at < in_page + watch.bytes; at += kPageSize) withheld_.push_back(watch.first.Page() + at);
  }
  mmu_.SetUnmapped(withheld_);
}

bool BtEngine::AtDebugStop() const {
  const CpuState& state = vcpu_.cpu.state;
  if (vcpu_.cpu.memory.Marks(Watcher::kDebugger)) return true;
  return translator_.IsStop(GuestLinear(state.Segment(Seg::kCs).base + state.eip));
}

std::optional<unsigned> BtEngine::TakeDebugHit() {
  const uint32_t marks = vcpu_.cpu.memory.TakeMarks(Watcher::kDebugger);
  if (marks == 0) return std::nullopt;
  return static_cast<unsigned>(std::countr_zero(marks));
}

bool BtEngine::StepForDebugger() {
  const CpuState& state = vcpu_.cpu.state;
  if (DeliverPending()) return true;
  if (state.halted) return false;
  const uint32_t eip = state.eip;
  for (unsigned chunks = 0; chunks < kMostChunks; ++chunks) {
    StepOne();
    const bool unfinished = state.eip == eip && (state.eflags & eflags::kRf);
    if (!unfinished || vcpu_.run.kick || vcpu_.cpu.memory.Marks(Watcher::kDebugger)) break;
  }
  return true;
}

}  // namespace ring3
