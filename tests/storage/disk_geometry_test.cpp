#include "devices/ide/disk_geometry.h"

#include <catch2/catch.hpp>
#include <vector>

namespace ring3 {
namespace {

std::vector<uint8_t> WithPartition(unsigned end_head, unsigned end_sector) {
  std::vector<uint8_t> sector(512);
  sector[510] = 0x55;
  sector[511] = 0xAA;
  sector[446 + 5] = static_cast<uint8_t>(end_head);
  sector[446 + 6] = static_cast<uint8_t>(end_sector);
  sector[446 + 13] = 1;
  return sector;
}

}  // namespace

TEST_CASE("geometry: a small disk needs no translation, a large one LBA", "[geometry]") {
  const std::vector<uint8_t> blank(512);
  CHECK(ShapeOfDisk(20'160, blank).physical == DiskGeometry{20, 16, 63});
  CHECK(ShapeOfDisk(20'160, blank).translation == BiosTranslation::kNone);
  CHECK(ShapeOfDisk(40'000'000, blank).physical == DiskGeometry{16383, 16, 63});
  CHECK(ShapeOfDisk(40'000'000, blank).translation == BiosTranslation::kLba);
  CHECK(ShapeOfDisk(1, blank).physical.cylinders == 1);
}

TEST_CASE("geometry: a partition table tells what the disk was made with", "[geometry]") {
  CHECK(ShapeOfDisk(41'820, WithPartition(3, 17)).physical == DiskGeometry{615, 4, 17});
  CHECK(ShapeOfDisk(4'000'000, WithPartition(254, 63)).translation == BiosTranslation::kLba);
  CHECK(ShapeOfDisk(2'000'000, WithPartition(63, 63)).translation == BiosTranslation::kLarge);
  CHECK(ShapeOfDisk(4'000'000, WithPartition(0, 0)).physical == DiskGeometry{3968, 16, 63});
}

}  // namespace ring3
