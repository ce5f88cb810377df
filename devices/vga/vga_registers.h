// The registers of the VGA by index, and their bits (FreeVGA: Sequencer, Graphics, Attribute, CRT Controller,
// External).
#pragma once

#include <array>
#include <cstdint>

namespace ring3 {

namespace vga {

// Ports. CRT controller, input status 1 and feature control move to 3Bxh while kMiscColour is clear.
inline constexpr uint16_t kAttributePort = 0x3C0, kAttributeReadPort = 0x3C1;
inline constexpr uint16_t kMiscWritePort = 0x3C2;  // reads input status 0
inline constexpr uint16_t kEnablePort = 0x3C3;
inline constexpr uint16_t kSequencerPort = 0x3C4;
inline constexpr uint16_t kDacMaskPort = 0x3C6, kDacReadPort = 0x3C7, kDacWritePort = 0x3C8, kDacDataPort = 0x3C9;
inline constexpr uint16_t kFeatureReadPort = 0x3CA, kMiscReadPort = 0x3CC, kGraphicsPort = 0x3CE;
inline constexpr uint16_t kCrtcPort = 0x3D4, kStatusPort = 0x3DA;

// Miscellaneous output.
inline constexpr uint8_t kMiscColour = 0x01, kMiscRam = 0x02;
inline constexpr uint8_t kMiscClockShift = 2, kMiscClockMask = 3;

// Input status.
inline constexpr uint8_t kStatus0Sense = 0x10;
inline constexpr uint8_t kStatus1Disabled = 0x01, kStatus1Retrace = 0x08;

namespace seq {
inline constexpr uint8_t kReset = 0, kClocking = 1, kMapMask = 2, kCharacterMap = 3, kMemoryMode = 4;
inline constexpr unsigned kCount = 5;
inline constexpr uint8_t kClockingEightDots = 0x01, kClockingHalf = 0x08, kClockingOff = 0x20;
inline constexpr uint8_t kMemorySequential = 0x04;  // clear: even addresses reach planes 0 and 2, odd ones 1 and 3
inline constexpr uint8_t kMemoryChain4 = 0x08;
}  // namespace seq

namespace gfx {
inline constexpr uint8_t kSetReset = 0, kEnableSetReset = 1, kColourCompare = 2, kDataRotate = 3, kReadMap = 4,
                         kMode = 5, kMiscellaneous = 6, kColourIgnore = 7, kBitMask = 8;
inline constexpr unsigned kCount = 9;
inline constexpr uint8_t kModeWriteMask = 0x03, kModeReadCompare = 0x08, kModeOddEven = 0x10, kModeInterleave = 0x20,
                         kMode256 = 0x40;
inline constexpr uint8_t kMiscGraphics = 0x01;
inline constexpr uint8_t kMiscMapShift = 2, kMiscMapMask = 3;
}  // namespace gfx

namespace attr {
inline constexpr uint8_t kMode = 0x10, kOverscan = 0x11, kPlaneEnable = 0x12, kPanning = 0x13, kColourSelect = 0x14;
inline constexpr unsigned kCount = 0x15, kPaletteCount = 0x10;
inline constexpr uint8_t kIndexMask = 0x1F, kIndexScreenOn = 0x20;
inline constexpr uint8_t kModeMono = 0x02, kModeLineGraphics = 0x04, kModeBlink = 0x08, kModePanCompare = 0x20,
                         kModeSelect54 = 0x80;
}  // namespace attr

namespace crtc {
inline constexpr uint8_t kHorizontalTotal = 0x00, kHorizontalEnd = 0x01, kVerticalTotal = 0x06, kOverflow = 0x07,
                         kPresetRow = 0x08, kMaximumRow = 0x09, kCursorStart = 0x0A, kCursorEnd = 0x0B,
                         kStartHigh = 0x0C, kStartLow = 0x0D, kCursorHigh = 0x0E, kCursorLow = 0x0F,
                         kRetraceStart = 0x10, kRetraceEnd = 0x11, kVerticalEnd = 0x12, kOffset = 0x13,
                         kUnderline = 0x14, kMode = 0x17, kLineCompare = 0x18;
inline constexpr unsigned kCount = 0x19;
inline constexpr uint8_t kRowMask = 0x1F;
inline constexpr uint8_t kMaximumRowDouble = 0x80, kMaximumRowCompare9 = 0x40;
inline constexpr uint8_t kCursorOff = 0x20;
inline constexpr uint8_t kRetraceEndProtect = 0x80, kRetraceEndMask = 0x0F;
inline constexpr uint8_t kUnderlineDoubleword = 0x40;
// Clear: that bit of the address is taken from the row scan counter, as in CGA and Hercules memory.
inline constexpr uint8_t kModeAddress13 = 0x01, kModeAddress14 = 0x02;
inline constexpr uint8_t kModeByte = 0x40, kModeRetrace = 0x80;
inline constexpr uint8_t kOverflowCompare8 = 0x10;
}  // namespace crtc

}  // namespace vga

/// What a guest has written, unused bits included where hardware keeps them.
struct VgaRegisters {
  uint8_t miscellaneous = 0, feature = 0, enable = 1;
  uint8_t sequencer_index = 0, graphics_index = 0, attribute_index = 0, crtc_index = 0;
  bool attribute_data_next = false;  // the flip-flop of port 3C0h
  std::array<uint8_t, vga::seq::kCount> sequencer{};
  std::array<uint8_t, vga::gfx::kCount> graphics{};
  std::array<uint8_t, vga::attr::kCount> attribute{};
  std::array<uint8_t, vga::crtc::kCount> crtc{};

  bool operator==(const VgaRegisters&) const = default;
};

}  // namespace ring3
