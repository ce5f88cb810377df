// Cylinders, heads and sectors of a disk, as it and as a BIOS give them.
#pragma once

#include <cstdint>
#include <span>

namespace ring3 {

struct DiskGeometry {
  uint32_t cylinders = 0, heads = 16, sectors = 63;
  uint64_t Capacity() const { return uint64_t{cylinders} * heads * sectors; }
  bool operator==(const DiskGeometry&) const = default;
};

/// How a BIOS makes its own geometry of the disk's; the values are those that firmware expects in CMOS register 39h.
enum class BiosTranslation : uint8_t { kNone, kLba, kLarge };

struct DiskShape {
  DiskGeometry physical;
  BiosTranslation translation = BiosTranslation::kNone;
};

/// What a disk of so many 512-byte sectors says. A partition table in its first sector tells which geometry the
/// disk was partitioned with; then translation keeps that.
DiskShape ShapeOfDisk(uint64_t disk_sectors, std::span<const uint8_t> first_sector);

}  // namespace ring3
