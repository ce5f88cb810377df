#include "devices/floppy/floppy_format.h"

#include <algorithm>
#include <iterator>

#include "devices/block/image.h"

namespace ring3 {
namespace {

// Data rates by their code: 0: 500, 1: 300, 2: 250, 3: 1000 kbit/s.
constexpr uint8_t k500 = 1 << 0, k300 = 1 << 1, k250 = 1 << 2, k1000 = 1 << 3;

constexpr FloppyFormat kFormats[] = {
    {40, 1, 8, FloppyDriveType::k360K, k250 | k300},  // 160K
    {40, 1, 9, FloppyDriveType::k360K, k250 | k300},  // 180K
    {40, 2, 8, FloppyDriveType::k360K, k250 | k300},  // 320K
    {40, 2, 9, FloppyDriveType::k360K, k250 | k300},  // 360K
    {80, 2, 9, FloppyDriveType::k1440K, k250},        // 720K
    {80, 2, 10, FloppyDriveType::k1440K, k250},       // 800K
    {80, 2, 15, FloppyDriveType::k1200K, k500},       // 1.2M
    {80, 2, 18, FloppyDriveType::k1440K, k500},       // 1.44M
    {82, 2, 18, FloppyDriveType::k1440K, k500},      {80, 2, 20, FloppyDriveType::k1440K, k500},
    {80, 2, 21, FloppyDriveType::k1440K, k500},  // 1.68M, DMF
    {82, 2, 21, FloppyDriveType::k1440K, k500},      {83, 2, 21, FloppyDriveType::k1440K, k500},
    {80, 2, 36, FloppyDriveType::k2880K, k1000},  // 2.88M
    {80, 2, 39, FloppyDriveType::k2880K, k1000},
};
constexpr const FloppyFormat& kUsual = kFormats[7];

}  // namespace

const FloppyFormat& FormatOfFloppy(uint64_t image_bytes) {
  const uint64_t sectors = image_bytes / kSectorBytes;
  const auto exact =
      std::find_if(std::begin(kFormats), std::end(kFormats), [=](auto& f) { return f.Sectors() == sectors; });
  if (exact != std::end(kFormats)) return *exact;
  if (sectors <= kUsual.Sectors()) return kUsual;
  const auto holding =
      std::find_if(std::begin(kFormats), std::end(kFormats), [=](auto& f) { return f.Sectors() >= sectors; });
  return holding == std::end(kFormats) ? *std::prev(std::end(kFormats)) : *holding;
}

}  // namespace ring3
