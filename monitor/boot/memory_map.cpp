#include "monitor/boot/memory_map.h"

#include <algorithm>

namespace ring3 {

std::vector<MemoryRegion> BuildMemoryMap(uint64_t ram_bytes) {
  using namespace boot_layout;
  std::vector<MemoryRegion> map = {
      {0, kLowMemoryEnd, MemoryType::kUsable},
      {kLowMemoryEnd, kVideoArea - kLowMemoryEnd, MemoryType::kReserved},
      {kVideoArea, kHighMemory - kVideoArea, MemoryType::kReserved},
  };
  if (ram_bytes > kHighMemory) map.push_back({kHighMemory, ram_bytes - kHighMemory, MemoryType::kUsable});
  return map;
}

bool IsUsable(const std::vector<MemoryRegion>& map, uint64_t base, uint64_t bytes) {
  return std::any_of(map.begin(), map.end(), [&](const MemoryRegion& region) {
    return region.type == MemoryType::kUsable && base >= region.base && base <= region.End() &&
           bytes <= region.End() - base;
  });
}

}  // namespace ring3
