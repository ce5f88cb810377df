// Registers of the RTL8139C and RTL8139C+ by offset in either BAR (Realtek's data sheets of those names).
#pragma once

#include <cstdint>

namespace ring3::rtl8139 {

inline constexpr unsigned kRegisterBytes = 0x100;

enum Register : uint8_t {
  kMac = 0x00,            // IDR0-5
  kMulticast = 0x08,      // MAR0-7
  kTallyAddress = 0x10,   // C+: dump of the tally counters (DTCCR), 8 bytes
  kTxStatus0 = 0x10,      // TSD0-3
  kTxAddress0 = 0x20,     // TSAD0-3
  kTxRing = 0x20,         // C+: normal priority descriptors (TNPDS), 8 bytes
  kTxHighRing = 0x28,     // C+: high priority descriptors (THPDS), 8 bytes
  kRxBuffer = 0x30,       // RBSTART
  kEarlyRxCount = 0x34,   // ERBCR, 2 bytes
  kEarlyRxStatus = 0x36,  // ERSR
  kCommand = 0x37,
  kReadPointer = 0x38,   // CAPR, 2 bytes
  kWritePointer = 0x3A,  // CBR, 2 bytes
  kInterruptMask = 0x3C,
  kInterruptStatus = 0x3E,
  kTxConfig = 0x40,
  kRxConfig = 0x44,
  kTimerCount = 0x48,
  kMissed = 0x4C,  // 24 bits; a write clears
  kEeprom = 0x50,  // 9346CR
  kConfig0 = 0x51,
  kConfig1 = 0x52,
  kTimerInterrupt = 0x54,
  kMediaStatus = 0x58,
  kConfig3 = 0x59,
  kConfig4 = 0x5A,
  kRevision = 0x5E,
  kTxSummary = 0x60,     // TSAD, 2 bytes
  kBasicControl = 0x62,  // PHY registers, 2 bytes each
  kBasicStatus = 0x64,
  kAdvertisement = 0x66,
  kLinkPartner = 0x68,
  kExpansion = 0x6A,
  kConfig5 = 0xD8,
  kTxPoll = 0xD9,        // C+
  kCPlusCommand = 0xE0,  // C+, 2 bytes
  kRxRing = 0xE4,        // C+, 8 bytes
};

// Command.
inline constexpr uint8_t kReset = 0x10, kReceiverOn = 0x08, kTransmitterOn = 0x04, kBufferEmpty = 0x01;

// Interrupt status and mask.
inline constexpr uint16_t kRxOk = 0x0001, kRxError = 0x0002, kTxOk = 0x0004, kTxError = 0x0008;
inline constexpr uint16_t kRxOverflow = 0x0010;  // C+: no receive descriptor
inline constexpr uint16_t kTxNoDescriptor = 0x0080, kSoftwareInterrupt = 0x0100, kTimeout = 0x4000;
inline constexpr uint16_t kInterruptBits = 0xE1FF;

// Transmit status (TSD).
inline constexpr uint32_t kTxSizeMask = 0x1FFF, kTxOwn = 1u << 13, kTxUnderrun = 1u << 14, kTxStatusOk = 1u << 15,
                          kTxAborted = 1u << 30;
inline constexpr uint32_t kLongestTx = 1792;

// Transmit configuration.
inline constexpr uint32_t kClearAbort = 1, kLoopbackMask = 3u << 17, kTxConfigWritable = 0x03070770;
inline constexpr uint32_t kVersionC = 0x74000000, kVersionCPlus = 0x74800000;

// Receive configuration.
inline constexpr uint32_t kAcceptAll = 0x01, kAcceptMine = 0x02, kAcceptMulticast = 0x04, kAcceptBroadcast = 0x08,
                          kAcceptRunt = 0x10, kNoWrap = 0x80, kRxConfigWritable = 0x0F03FFFF;
inline constexpr unsigned kRingSizeShift = 11;

// Header in front of each frame in the receive buffer.
inline constexpr uint16_t kHeaderOk = 0x0001, kHeaderBroadcast = 0x2000, kHeaderMine = 0x4000,
                          kHeaderMulticast = 0x8000;

// 9346CR.
inline constexpr uint8_t kModeMask = 0xC0, kModeNormal = 0x00, kModeReload = 0x40, kModeProgram = 0x80,
                         kModeUnlocked = 0xC0;
inline constexpr uint8_t kEepromSelect = 0x08, kEepromClock = 0x04, kEepromIn = 0x02, kEepromOut = 0x01;

// Configuration registers' reset values and writable bits.
inline constexpr uint8_t kConfig1Reset = 0x0C, kConfig1Writable = 0xF3;
inline constexpr uint8_t kConfig3Writable = 0xFE, kConfig4Writable = 0xF5, kConfig5Writable = 0x7F;

// PHY.
inline constexpr uint16_t kControlReset = 0x8000, kControlRestart = 0x0200, kControlDefault = 0x3100;
inline constexpr uint16_t kStatusLinkUp = 0x782D, kAdvertiseAll = 0x05E1, kPartnerAll = 0x45E1,
                          kPartnerNegotiates = 0x0001;

// C+ command.
inline constexpr uint16_t kCPlusTx = 0x0001, kCPlusRx = 0x0002, kRxChecksum = 0x0020, kRxVlan = 0x0040;
inline constexpr uint16_t kCPlusWritable = 0x03FB;
// C+ transmit polling.
inline constexpr uint8_t kPollHigh = 0x80, kPollNormal = 0x40, kForceInterrupt = 0x01;
// C+ dump of tally counters.
inline constexpr uint32_t kDumpTally = 0x08;

// C+ descriptors: four dwords: status and size, VLAN, address low, address high.
inline constexpr unsigned kDescriptorBytes = 16, kRingDescriptors = 64;
inline constexpr uint32_t kOwn = 1u << 31, kEndOfRing = 1u << 30, kFirst = 1u << 29, kLast = 1u << 28;
inline constexpr uint32_t kLargeSend = 1u << 27, kSegmentSizeMask = 0x7FF, kTxIpChecksum = 1u << 18,
                          kTxUdpChecksum = 1u << 17, kTxTcpChecksum = 1u << 16, kTxBytesMask = 0xFFFF;
inline constexpr unsigned kSegmentSizeShift = 16;
inline constexpr uint32_t kTxTagged = 1u << 17;
inline constexpr uint32_t kRxBytesMask = 0x1FFF, kRxMulticast = 1u << 26, kRxMine = 1u << 25, kRxBroadcast = 1u << 24,
                          kRxIsTcp = 1u << 16, kRxIsUdp = 2u << 16, kRxIsIp = 3u << 16, kRxIpBad = 1u << 15,
                          kRxUdpBad = 1u << 14, kRxTcpBad = 1u << 13;
inline constexpr uint32_t kRxTagged = 1u << 16;

}  // namespace ring3::rtl8139
