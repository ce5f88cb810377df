// Backed memory seen at a second place: PhysicalMemory's part.
#include <algorithm>
#include <stdexcept>
#include <utility>

#include "shadowmmu/physical_memory.h"

namespace ring3 {

void PhysicalMemory::ShowAlias(BackedMemory& backed, uint64_t offset, GuestPhysical first, uint64_t bytes) {
  EndAlias();
  const bool whole_pages = first.PageOffset() == 0 && (offset | bytes) % kPageSize == 0 && bytes != 0;
  if (!backed.attached_ || !whole_pages || bytes > backed.bytes_ || offset > backed.bytes_ - bytes)
    throw std::logic_error("PhysicalMemory::ShowAlias: not pages of attached memory");
  alias_ = {.first = first.value, .bytes = bytes, .to = backed.content_ + offset};
  for (KindListener* listener : kind_listeners_) listener->KindChanged(first, bytes);
}

void PhysicalMemory::EndAlias() {
  const Alias was = std::exchange(alias_, Alias{});
  if (was.bytes == 0) return;
  // Mappings of either place are known by the bytes that they show.
  for (KindListener* listener : kind_listeners_) listener->KindChanged(GuestPhysical(was.to), was.bytes);
}

void PhysicalMemory::EndAliasOf(uint64_t first, uint64_t bytes) {
  const auto touches = [&](uint64_t place) { return first < place + alias_.bytes && place < first + bytes; };
  if (alias_.bytes != 0 && (touches(alias_.first) || touches(alias_.to))) EndAlias();
}

}  // namespace ring3
