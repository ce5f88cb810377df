#include "devices/ide/disk_geometry.h"

#include <algorithm>
#include <optional>

namespace ring3 {
namespace {

constexpr uint32_t kMostCylinders = 16383, kMostHeads = 16, kSectorsPerTrack = 63;
constexpr uint32_t kBiosCylinders = 1024;
constexpr uint64_t kLargeLimit = uint64_t{kBiosCylinders} * 128 * kSectorsPerTrack;  // what LARGE can express
constexpr size_t kPartitions = 446, kPartitionBytes = 16, kSignature = 510;

struct Logical {
  uint32_t heads, sectors;
};

/// The geometry by which a partition ends at the end of a cylinder, if one does.
std::optional<Logical> FromPartitions(uint64_t disk_sectors, std::span<const uint8_t> mbr) {
  if (mbr.size() < 512 || mbr[kSignature] != 0x55 || mbr[kSignature + 1] != 0xAA) return std::nullopt;
  for (size_t i = 0; i < 4; ++i) {
    const uint8_t* const entry = &mbr[kPartitions + i * kPartitionBytes];
    const uint32_t count = entry[12] | entry[13] << 8 | entry[14] << 16 | uint32_t{entry[15]} << 24;
    const uint32_t end_head = entry[5], end_sector = entry[6] & 0x3F;
    if (count == 0 || end_head == 0 || end_sector == 0) continue;
    const uint32_t heads = end_head + 1;
    if (disk_sectors / (uint64_t{heads} * end_sector) < 1) continue;
    return Logical{heads, end_sector};
  }
  return std::nullopt;
}

}  // namespace

DiskShape ShapeOfDisk(uint64_t disk_sectors, std::span<const uint8_t> first_sector) {
  const auto cylinders = [disk_sectors](uint32_t heads, uint32_t sectors) {
    const uint64_t whole = disk_sectors / (uint64_t{heads} * sectors);
    return static_cast<uint32_t>(std::clamp<uint64_t>(whole, 1, kMostCylinders));
  };
  const auto logical = FromPartitions(disk_sectors, first_sector);
  if (logical && logical->heads <= kMostHeads) {
    const DiskGeometry same{cylinders(logical->heads, logical->sectors), logical->heads, logical->sectors};
    if (same.cylinders <= kBiosCylinders) return {same, BiosTranslation::kNone};
  }
  const DiskGeometry physical{cylinders(kMostHeads, kSectorsPerTrack), kMostHeads, kSectorsPerTrack};
  if (logical && logical->heads > kMostHeads && logical->sectors == kSectorsPerTrack) {
    const bool large = disk_sectors <= kLargeLimit && logical->heads % kMostHeads == 0 && logical->heads < 255;
    return {physical, large ? BiosTranslation::kLarge : BiosTranslation::kLba};
  }
  return {physical, physical.cylinders <= kBiosCylinders ? BiosTranslation::kNone : BiosTranslation::kLba};
}

}  // namespace ring3
