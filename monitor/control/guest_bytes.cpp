#include "monitor/control/guest_bytes.h"

#include <algorithm>

#include "shadowmmu/paging.h"

namespace ring3 {
namespace {

/// Calls `move` for the parts of the range that lie in one page each, up to the first that it refuses.
template <class Move>
size_t ForEachPiece(MachineControl& control, uint64_t address, bool physical, size_t bytes, Move move) {
  const PagingState paging = control.GetEngine().Paging();
  PhysicalMemory& memory = control.Memory();
  size_t done = 0;
  while (done < bytes) {
    uint64_t at = address + done;
    const size_t piece = std::min<size_t>(bytes - done, kPageSize - (at & kPageMask));
    if (!physical) {
      const GuestLinear linear(static_cast<uint32_t>(at));
      const WalkResult walk = Peek(memory, paging, linear);
      if (!walk.ok) break;
      at = walk.translation.page.value + linear.PageOffset();
    }
    if (!move(GuestPhysical(at), done, piece)) break;
    done += piece;
  }
  return done;
}

}  // namespace

size_t ReadGuest(MachineControl& control, uint64_t address, bool physical, std::span<uint8_t> out) {
  PhysicalMemory& memory = control.Memory();
  return ForEachPiece(control, address, physical, out.size(), [&](GuestPhysical at, size_t done, size_t bytes) {
    if (memory.KindOf(at) == PageKind::kMmio) return false;
    memory.Read(at, out.subspan(done, bytes));
    return true;
  });
}

size_t WriteGuest(MachineControl& control, uint64_t address, bool physical, std::span<const uint8_t> data) {
  PhysicalMemory& memory = control.Memory();
  return ForEachPiece(control, address, physical, data.size(), [&](GuestPhysical at, size_t done, size_t bytes) {
    if (memory.KindOf(at) != PageKind::kRam) return false;
    memory.Write(at, data.subspan(done, bytes));
    return true;
  });
}

}  // namespace ring3
