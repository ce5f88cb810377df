#include "devices/vga/video_memory.h"

#include <algorithm>

namespace ring3 {

VideoMemory::VideoMemory(PhysicalMemory& physical, BackedMemory& backed)
    : physical_(&physical), backed_(&backed), dirty_(backed.Bytes() / kPageBytes, 1) {
  physical.TrackWrites(backed);
}

void VideoMemory::Collect() {
  if (backed_) physical_->TakeWritten(*backed_, [this](uint64_t offset) { Touch(static_cast<uint32_t>(offset)); });
}

bool VideoMemory::Dirty(uint32_t first, uint32_t end) const {
  if (first >= end || first >= Size()) return false;
  const auto begin = dirty_.begin() + first / kPageBytes;
  const auto stop = dirty_.begin() + (std::min(end, Size()) - 1) / kPageBytes + 1;
  return std::find(begin, stop, 1) != stop;
}

}  // namespace ring3
