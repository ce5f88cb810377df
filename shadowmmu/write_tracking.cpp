// Which pages of backed memory were written to: PhysicalMemory's part.
#include <algorithm>

#include "shadowmmu/physical_memory.h"

namespace ring3 {
namespace {

/// One fault opens this many pages: whoever draws one line of a picture draws the next.
constexpr uint64_t kClusterBytes = 64u << 10;

}  // namespace

void PhysicalMemory::TrackWrites(BackedMemory& backed) {
  backed.tracked_ = true;
  if (backed.attached_) NoteAll(backed);
}

void PhysicalMemory::NoteAll(BackedMemory& backed) {
  ForgetTraps(backed);
  for (uint32_t page = 0; page < backed.bytes_ >> kPageShift; ++page) backed.written_.push_back(page);
}

/// No page is trapped, and none counts as written to.
void PhysicalMemory::ForgetTraps(BackedMemory& backed) {
  backed.written_.clear();
  for (uint64_t at = 0; at < backed.bytes_; at += kPageSize) {
    SetWatch(GuestPhysical(backed.content_ + at), kWatchTrapped, false);
  }
}

void PhysicalMemory::NoteWrite(GuestPhysical page) {
  for (const auto& backed : backed_) {
    const uint64_t offset = page.value - backed->content_;
    if (!backed->attached_ || offset >= backed->bytes_) continue;
    const uint64_t first = offset & ~(kClusterBytes - 1);
    for (uint64_t at = first; at < std::min(first + kClusterBytes, backed->bytes_); at += kPageSize) {
      const GuestPhysical neighbour(backed->content_ + at);
      if (!IsTrapped(neighbour)) continue;
      SetWatch(neighbour, kWatchTrapped, false);
      backed->written_.push_back(static_cast<uint32_t>(at >> kPageShift));
    }
  }
}

/// The pages that were told of are closed again.
void PhysicalMemory::TrapWrites(BackedMemory& backed) {
  if (backed.written_.empty()) return;
  std::vector<uint32_t> pages;
  pages.swap(backed.written_);
  std::sort(pages.begin(), pages.end());
  const auto first = static_cast<uint32_t>(backed.content_ >> kPageShift);
  for (uint32_t& page : pages) {
    page += first;
    SetWatch(GuestPhysical(uint64_t{page} << kPageShift), kWatchTrapped, true);
  }
  for (KindListener* listener : kind_listeners_) listener->WritesTrapped(pages);
}

}  // namespace ring3
