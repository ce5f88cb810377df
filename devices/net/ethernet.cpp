#include "devices/net/ethernet.h"

#include <algorithm>

namespace ring3 {
namespace {

constexpr uint32_t kReflectedPolynomial = 0xEDB88320;
constexpr uint32_t kPolynomial = 0x04C11DB7;
constexpr unsigned kSlices = 4;

/// kTables[n][b]: the effect of byte b with n bytes behind it.
constexpr auto kTables = [] {
  std::array<std::array<uint32_t, 256>, kSlices> tables{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) ? kReflectedPolynomial : 0);
    tables[0][i] = crc;
  }
  for (unsigned n = 1; n < kSlices; ++n) {
    for (uint32_t i = 0; i < 256; ++i) tables[n][i] = (tables[n - 1][i] >> 8) ^ tables[0][tables[n - 1][i] & 0xFF];
  }
  return tables;
}();

}  // namespace

FrameTarget TargetOf(FrameView frame) {
  if ((frame[0] & 1) == 0) return FrameTarget::kUnicast;
  const bool broadcast = std::all_of(frame.begin(), frame.begin() + 6, [](uint8_t byte) { return byte == 0xFF; });
  return broadcast ? FrameTarget::kBroadcast : FrameTarget::kMulticast;
}

bool IsAddressedTo(FrameView frame, const MacAddress& mac) { return std::equal(mac.begin(), mac.end(), frame.begin()); }

uint32_t FrameCheckSequence(FrameView frame) {
  uint32_t crc = ~0u;
  size_t at = 0;
  for (; at + kSlices <= frame.size(); at += kSlices) {
    crc ^= frame[at] | uint32_t{frame[at + 1]} << 8 | uint32_t{frame[at + 2]} << 16 | uint32_t{frame[at + 3]} << 24;
    crc = kTables[3][crc & 0xFF] ^ kTables[2][crc >> 8 & 0xFF] ^ kTables[1][crc >> 16 & 0xFF] ^ kTables[0][crc >> 24];
  }
  for (; at < frame.size(); ++at) crc = (crc >> 8) ^ kTables[0][(crc ^ frame[at]) & 0xFF];
  return ~crc;
}

unsigned MulticastHash(FrameView frame) {
  uint32_t crc = ~0u;
  for (unsigned i = 0; i < 6; ++i) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      const bool feedback = (crc >> 31) != (frame[i] >> bit & 1u);
      crc = (crc << 1) ^ (feedback ? kPolynomial : 0);
    }
  }
  return crc >> 26;
}

}  // namespace ring3
