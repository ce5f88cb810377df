#include "monitor/boot/memory_map.h"

#include <catch2/catch.hpp>

namespace ring3 {

TEST_CASE("the memory map of a 256 MiB machine") {
  const std::vector<MemoryRegion> expected = {
      {0, 0x9FC00, MemoryType::kUsable},
      {0x9FC00, 0x400, MemoryType::kReserved},
      {0xA0000, 0x60000, MemoryType::kReserved},
      {0x100000, 0xFF00000, MemoryType::kUsable},
  };
  CHECK(BuildMemoryMap(256u << 20) == expected);
}

TEST_CASE("a machine with 1 MiB has no memory above it") {
  const auto map = BuildMemoryMap(1u << 20);
  CHECK(map.size() == 3);
  CHECK(map.back().End() == 0x100000);
}

TEST_CASE("regions touch without gaps or overlaps up to the end of RAM") {
  for (const uint64_t ram : {uint64_t{1} << 20, uint64_t{64} << 20, uint64_t{0xE0000000}}) {
    uint64_t next = 0;
    for (const MemoryRegion& region : BuildMemoryMap(ram)) {
      CHECK(region.base == next);
      CHECK(region.bytes > 0);
      next = region.End();
    }
    CHECK(next == ram);
  }
}

TEST_CASE("usable means inside one usable region") {
  const auto map = BuildMemoryMap(2u << 20);
  CHECK(IsUsable(map, 0, 0x9FC00));
  CHECK_FALSE(IsUsable(map, 0, 0x9FC01));
  CHECK_FALSE(IsUsable(map, 0xE0000, 16));
  CHECK(IsUsable(map, 0x100000, 0x100000));
  CHECK_FALSE(IsUsable(map, 0x100001, 0x100000));
  CHECK_FALSE(IsUsable(map, 0x100000, UINT64_MAX));
  CHECK_FALSE(IsUsable(map, 0x300000, 1));
}

}  // namespace ring3
