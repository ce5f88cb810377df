// The formats of diskettes, told by the size of their image.
#pragma once

#include <cstdint>

namespace ring3 {

/// Drive types as CMOS register 10h numbers them.
enum class FloppyDriveType : uint8_t { kNone = 0, k360K = 1, k1200K = 2, k720K = 3, k1440K = 4, k2880K = 5 };

struct FloppyFormat {
  uint8_t cylinders, heads, sectors;  // a cylinder's heads, a track's sectors of 512 bytes
  FloppyDriveType drive;              // the type of drive it belongs to
  uint8_t rates;                      // data rates at which it can be read: a bit for each code of the DSR
  uint64_t Sectors() const { return uint64_t{cylinders} * heads * sectors; }
};

/// An image of another size is taken for a part of a 1.44M diskette, or of the smallest one that holds it.
const FloppyFormat& FormatOfFloppy(uint64_t image_bytes);

}  // namespace ring3
