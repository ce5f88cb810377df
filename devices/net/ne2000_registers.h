// Bits of the NE2000's registers (DP8390D and RTL8029AS data sheets).
#pragma once

#include <cstdint>

namespace ring3::ne2000 {

// Command register.
inline constexpr uint8_t kStop = 0x01, kStart = 0x02, kTransmit = 0x04, kRemoteMask = 0x38, kRemoteRead = 0x08,
                         kRemoteWrite = 0x10, kSendPacket = 0x18, kRemoteAbort = 0x20;
inline constexpr unsigned kSelectShift = 6;
// Interrupt status.
inline constexpr uint8_t kReceived = 0x01, kTransmitted = 0x02, kTransmitError = 0x08, kRemoteDone = 0x40,
                         kResetState = 0x80;
// Data configuration.
inline constexpr uint8_t kWordTransfer = 0x01;
// Receive configuration.
inline constexpr uint8_t kAcceptBroadcast = 0x04, kAcceptMulticast = 0x08, kPromiscuous = 0x10, kMonitor = 0x20;
// Transmit configuration.
inline constexpr uint8_t kLoopbackMask = 0x06;
// Receive and transmit status.
inline constexpr uint8_t kIntact = 0x01, kGroupAddress = 0x20, kMissed = 0x10;
// RTL8029's identification and configuration.
inline constexpr uint8_t kIdLow = 0x50, kIdHigh = 0x43, kUnlocked = 0xC0;

inline uint8_t Low(uint16_t value) { return static_cast<uint8_t>(value); }
inline uint8_t High(uint16_t value) { return static_cast<uint8_t>(value >> 8); }

}  // namespace ring3::ne2000
