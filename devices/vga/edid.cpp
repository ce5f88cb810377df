#include "devices/vga/edid.h"

#include <algorithm>
#include <numeric>
#include <string_view>

namespace ring3 {
namespace {

using Edid = std::array<uint8_t, kEdidBytes>;

constexpr uint8_t kMagic[] = {0x00, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x00};
constexpr size_t kManufacturer = 8, kWeek = 16, kVersion = 18, kInput = 20, kEstablished = 35, kStandard = 38,
                 kDescriptors = 54, kDescriptorBytes = 18, kChecksum = 127;
constexpr uint8_t kDigital8Bit = 0xA0, kNoSize = 0, kGamma22 = 120, kRgbPreferredMode = 0x02 | 0x01;
// Chromaticities of sRGB, ten bits each, as the standard packs them.
constexpr uint8_t kSrgb[] = {0xEE, 0x91, 0xA3, 0x54, 0x4C, 0x99, 0x26, 0x0F, 0x50, 0x54};
constexpr uint8_t kEstablishedModes[] = {0x21, 0x08, 0x00};  // 640x480, 800x600 and 1024x768 at 60 Hz
constexpr uint8_t kNameTag = 0xFC, kRangeTag = 0xFD, kUnusedTag = 0x10;
constexpr std::string_view kName = "ring3\n       ";

// CVT with reduced blanking.
constexpr unsigned kBlankWidth = 160, kFrontWidth = 48, kSyncWidth = 32, kFrontHeight = 3, kLeastBackHeight = 6;
constexpr double kLeastBlankSeconds = 460e-6, kFramesPerSecond = 60;
constexpr unsigned kClockStep10Khz = 25;

struct StandardMode {
  unsigned width;
  uint8_t aspect;  // 0: 16:10, 1: 4:3, 2: 5:4, 3: 16:9
};
constexpr StandardMode kStandardModes[8] = {{1920, 3}, {1680, 0}, {1600, 1}, {1440, 0},
                                            {1280, 2}, {1280, 0}, {1280, 3}, {1152, 1}};

/// The width of the vertical sync pulse tells the aspect ratio.
unsigned SyncHeight(unsigned width, unsigned height) {
  if (width * 3 == height * 4) return 4;
  if (width * 9 == height * 16) return 5;
  if (width * 10 == height * 16) return 6;
  if (width * 4 == height * 5 || width * 9 == height * 15) return 7;
  return 10;
}

/// A detailed timing descriptor.
void StoreTiming(uint8_t* at, unsigned width, unsigned height) {
  const unsigned sync_height = SyncHeight(width, height);
  const double line = (1 / kFramesPerSecond - kLeastBlankSeconds) / height;
  const unsigned blank_height =
      std::max(static_cast<unsigned>(kLeastBlankSeconds / line) + 1, kFrontHeight + sync_height + kLeastBackHeight);
  const double hertz = kFramesPerSecond * (width + kBlankWidth) * (height + blank_height);
  const auto clock = static_cast<unsigned>(hertz / 10'000) / kClockStep10Khz * kClockStep10Khz;
  const auto low = [](unsigned value) { return static_cast<uint8_t>(value); };
  const auto high = [](unsigned first, unsigned second) {
    return static_cast<uint8_t>((first >> 8) << 4 | second >> 8);
  };
  const uint8_t bytes[kDescriptorBytes] = {low(clock),
                                           low(clock >> 8),
                                           low(width),
                                           low(kBlankWidth),
                                           high(width, kBlankWidth),
                                           low(height),
                                           low(blank_height),
                                           high(height, blank_height),
                                           kFrontWidth,
                                           kSyncWidth,
                                           static_cast<uint8_t>(kFrontHeight << 4 | sync_height),
                                           0,
                                           kNoSize,
                                           kNoSize,
                                           kNoSize,
                                           0,
                                           0,
                                           0x1A};  // separate syncs, horizontal positive, vertical negative
  std::copy(std::begin(bytes), std::end(bytes), at);
}

void StoreStandardModes(Edid& edid) {
  uint8_t* at = edid.data() + kStandard;
  for (const StandardMode& mode : kStandardModes) {
    *at++ = static_cast<uint8_t>(mode.width / 8 - 31);
    *at++ = static_cast<uint8_t>(mode.aspect << 6);  // 60 Hz
  }
}

}  // namespace

Edid MakeEdid(uint16_t width, uint16_t height) {
  Edid edid{};
  std::copy(std::begin(kMagic), std::end(kMagic), edid.begin());
  constexpr unsigned kLetters = ('R' - '@') << 10 | ('N' - '@') << 5 | ('G' - '@');
  edid[kManufacturer] = kLetters >> 8, edid[kManufacturer + 1] = kLetters & 0xFF;
  edid[kManufacturer + 2] = 0x03;
  edid[kWeek] = 1, edid[kWeek + 1] = 16;  // 2006
  edid[kVersion] = 1, edid[kVersion + 1] = 4;
  edid[kInput] = kDigital8Bit, edid[kInput + 3] = kGamma22, edid[kInput + 4] = kRgbPreferredMode;
  std::copy(std::begin(kSrgb), std::end(kSrgb), edid.begin() + kInput + 5);
  std::copy(std::begin(kEstablishedModes), std::end(kEstablishedModes), edid.begin() + kEstablished);
  StoreStandardModes(edid);
  StoreTiming(edid.data() + kDescriptors, width, height);
  uint8_t* range = edid.data() + kDescriptors + kDescriptorBytes;
  // 50 to 125 Hz, 30 to 160 kHz, at most 300 MHz, no formula
  const uint8_t limits[] = {0, 0, 0, kRangeTag, 0, 50, 125, 30, 160, 30, 0x01, '\n', ' ', ' ', ' ', ' ', ' ', ' '};
  std::copy(std::begin(limits), std::end(limits), range);
  uint8_t* name = range + kDescriptorBytes;
  name[3] = kNameTag;
  std::copy(kName.begin(), kName.end(), name + 5);
  name[kDescriptorBytes + 3] = kUnusedTag;
  edid[kChecksum] = static_cast<uint8_t>(-std::accumulate(edid.begin(), edid.end() - 1, 0u));
  return edid;
}

}  // namespace ring3
