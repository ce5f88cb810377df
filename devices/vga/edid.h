// What the monitor says of itself (VESA E-EDID 1.4, one block; timings by VESA CVT 1.1 with reduced blanking).
#pragma once

#include <array>
#include <cstdint>

namespace ring3 {

inline constexpr unsigned kEdidBytes = 128;
inline constexpr uint16_t kLeastEdidWidth = 640, kLeastEdidHeight = 480, kMostEdidWidth = 2560, kMostEdidHeight = 1600;

/// A monitor that likes `width` by `height` at 60 Hz best. The width is a multiple of 8; both are within the limits
/// above.
std::array<uint8_t, kEdidBytes> MakeEdid(uint16_t width, uint16_t height);

}  // namespace ring3
