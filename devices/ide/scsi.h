// Codes of SCSI commands and answers, as CD-ROM drives use them (SPC-2, MMC-3).
#pragma once

#include <cstdint>

namespace ring3::scsi {

// Operation codes.
inline constexpr uint8_t kTestUnitReady = 0x00, kRequestSense = 0x03, kInquiry = 0x12, kModeSense6 = 0x1A,
                         kStartStopUnit = 0x1B, kPreventAllow = 0x1E, kReadCapacity = 0x25, kRead10 = 0x28,
                         kSeek10 = 0x2B, kReadSubChannel = 0x42, kReadToc = 0x43, kReadHeader = 0x44,
                         kGetConfiguration = 0x46, kGetEventStatus = 0x4A, kReadDiscInformation = 0x51,
                         kReadTrackInformation = 0x52, kModeSense10 = 0x5A, kRead12 = 0xA8, kReadCdMsf = 0xB9,
                         kSetCdSpeed = 0xBB, kMechanismStatus = 0xBD, kReadCd = 0xBE;

/// Sense key, additional sense code and its qualifier.
struct Sense {
  uint8_t key, code, qualifier;
  bool operator==(const Sense&) const = default;
};
inline constexpr Sense kNoSense = {0, 0, 0};
inline constexpr Sense kMediumNotPresentTrayClosed = {2, 0x3A, 1}, kMediumNotPresentTrayOpen = {2, 0x3A, 2};
inline constexpr Sense kUnrecoveredRead = {3, 0x11, 0};
inline constexpr Sense kInvalidOpcode = {5, 0x20, 0}, kOutOfRange = {5, 0x21, 0}, kInvalidField = {5, 0x24, 0},
                       kSavingUnsupported = {5, 0x39, 0}, kRemovalPrevented = {5, 0x53, 2},
                       kIllegalModeForTrack = {5, 0x64, 0};
inline constexpr Sense kMediumChanged = {6, 0x28, 0}, kPowerOn = {6, 0x29, 0};

}  // namespace ring3::scsi
