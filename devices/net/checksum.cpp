#include "devices/net/checksum.h"

#include <algorithm>
#include <cstring>

namespace ring3 {
namespace {

constexpr uint16_t kTypeIpv4 = 0x0800;
constexpr size_t kTypeOffset = 12;
constexpr size_t kShortestIpHeader = 20;
constexpr uint8_t kTcp = 6, kUdp = 17;
constexpr size_t kTcpHeader = 20, kUdpHeader = 8;

// Offsets in the IPv4 header.
constexpr size_t kIpLength = 2, kIpId = 4, kIpFragment = 6, kIpProtocol = 9, kIpChecksum = 10, kIpAddresses = 12;
constexpr uint16_t kFragmentMask = 0x3FFF;  // more fragments, or an offset
// In the transport headers.
constexpr size_t kTcpSequence = 4, kTcpOffset = 12, kTcpFlags = 13, kTcpChecksum = 16, kUdpChecksum = 6;
constexpr uint8_t kFin = 0x01, kPush = 0x08, kCwr = 0x80;

uint16_t Load16(FrameView bytes, size_t at) { return static_cast<uint16_t>(bytes[at] << 8 | bytes[at + 1]); }
uint32_t Load32(FrameView bytes, size_t at) { return uint32_t{Load16(bytes, at)} << 16 | Load16(bytes, at + 2); }
void Store16(std::span<uint8_t> bytes, size_t at, uint16_t value) {
  bytes[at] = static_cast<uint8_t>(value >> 8);
  bytes[at + 1] = static_cast<uint8_t>(value);
}
void Store32(std::span<uint8_t> bytes, size_t at, uint32_t value) {
  Store16(bytes, at, static_cast<uint16_t>(value >> 16));
  Store16(bytes, at + 2, static_cast<uint16_t>(value));
}

/// Of addresses, protocol and length, with the packet behind them.
uint16_t TransportSum(FrameView frame, const Ipv4Layout& layout) {
  const auto length = static_cast<uint32_t>(layout.end - layout.transport);
  const uint32_t pseudo = layout.protocol + length + InternetSum(frame.subspan(layout.ip + kIpAddresses, 8));
  return InternetSum(frame.subspan(layout.transport, length), pseudo);
}

/// Offset of the checksum in the frame; 0 when there is none that could be told.
size_t TransportChecksumAt(const Ipv4Layout& layout) {
  const size_t bytes = layout.end - layout.transport;
  if (layout.fragment) return 0;
  if (layout.protocol == kTcp && bytes >= kTcpHeader) return layout.transport + kTcpChecksum;
  if (layout.protocol == kUdp && bytes >= kUdpHeader) return layout.transport + kUdpChecksum;
  return 0;
}

}  // namespace

uint16_t InternetSum(std::span<const uint8_t> bytes, uint32_t sum) {
  // In the host's byte order, eight bytes at a time: the sum of swapped words is the swapped sum.
  uint64_t wide = 0;
  size_t at = 0;
  for (; at + 8 <= bytes.size(); at += 8) {
    uint64_t eight;
    std::memcpy(&eight, &bytes[at], sizeof eight);
    wide += (eight & 0xFFFFFFFF) + (eight >> 32);
  }
  for (; at < bytes.size(); at += 2) wide += bytes[at] | (at + 1 < bytes.size() ? bytes[at + 1] << 8 : 0);
  while (wide >> 16) wide = (wide & 0xFFFF) + (wide >> 16);
  uint32_t total = static_cast<uint32_t>((wide >> 8 | wide << 8) & 0xFFFF) + (sum & 0xFFFF) + (sum >> 16);
  while (total >> 16) total = (total & 0xFFFF) + (total >> 16);
  return static_cast<uint16_t>(total);
}

bool FindIpv4(FrameView frame, Ipv4Layout& layout) {
  layout.ip = kEthernetHeader;
  if (frame.size() < kEthernetHeader + kShortestIpHeader || Load16(frame, kTypeOffset) != kTypeIpv4) return false;
  const uint8_t version = frame[layout.ip];
  const size_t header = (version & 0xFu) * 4, total = Load16(frame, layout.ip + kIpLength);
  if (version >> 4 != 4 || header < kShortestIpHeader || total < header || layout.ip + total > frame.size())
    return false;
  layout.transport = layout.ip + header;
  layout.end = layout.ip + total;
  layout.protocol = frame[layout.ip + kIpProtocol];
  layout.fragment = (Load16(frame, layout.ip + kIpFragment) & kFragmentMask) != 0;
  return true;
}

bool Ipv4HeaderGood(FrameView frame, const Ipv4Layout& layout) {
  return InternetSum(frame.subspan(layout.ip, layout.transport - layout.ip)) == 0xFFFF;
}

bool TransportGood(FrameView frame, const Ipv4Layout& layout) {
  const size_t at = TransportChecksumAt(layout);
  if (at == 0 || (layout.protocol == kUdp && Load16(frame, at) == 0)) return true;
  return TransportSum(frame, layout) == 0xFFFF;
}

void SetIpv4Checksum(std::span<uint8_t> frame, const Ipv4Layout& layout) {
  Store16(frame, layout.ip + kIpChecksum, 0);
  const uint16_t sum = InternetSum(frame.subspan(layout.ip, layout.transport - layout.ip));
  Store16(frame, layout.ip + kIpChecksum, static_cast<uint16_t>(~sum));
}

void SetTransportChecksum(std::span<uint8_t> frame, const Ipv4Layout& layout) {
  const size_t at = TransportChecksumAt(layout);
  if (at == 0) return;
  Store16(frame, at, 0);
  const auto checksum = static_cast<uint16_t>(~TransportSum(frame, layout));
  Store16(frame, at, layout.protocol == kUdp && checksum == 0 ? 0xFFFF : checksum);  // 0 says that there is none
}

void SendSegments(std::span<uint8_t> frame, size_t segment_bytes, const std::function<void(FrameView)>& send) {
  Ipv4Layout layout;
  const bool tcp = FindIpv4(frame, layout) && layout.protocol == kTcp && TransportChecksumAt(layout) != 0;
  const size_t tcp_header = tcp ? (frame[layout.transport + kTcpOffset] >> 4) * 4u : 0;
  const size_t payload = layout.transport + tcp_header;
  if (!tcp || tcp_header < kTcpHeader || payload > layout.end) return send(frame);
  const uint32_t sequence = Load32(frame, layout.transport + kTcpSequence);
  const uint16_t id = Load16(frame, layout.ip + kIpId);
  const uint8_t flags = frame[layout.transport + kTcpFlags];
  std::vector<uint8_t> segment;
  uint16_t number = 0;
  for (size_t at = payload; at == payload || at < layout.end; at += segment_bytes, ++number) {
    const size_t bytes = std::min(segment_bytes, layout.end - at);
    const bool last = at + bytes == layout.end;
    segment.assign(frame.begin(), frame.begin() + static_cast<ptrdiff_t>(payload));
    segment.insert(segment.end(), frame.begin() + static_cast<ptrdiff_t>(at),
                   frame.begin() + static_cast<ptrdiff_t>(at + bytes));
    Ipv4Layout piece = layout;
    piece.end = segment.size();
    Store16(segment, layout.ip + kIpLength, static_cast<uint16_t>(piece.end - layout.ip));
    Store16(segment, layout.ip + kIpId, static_cast<uint16_t>(id + number));
    Store32(segment, layout.transport + kTcpSequence, sequence + static_cast<uint32_t>(at - payload));
    const uint8_t kept = static_cast<uint8_t>(flags & ~(last ? 0 : kFin | kPush) & ~(number ? kCwr : 0));
    segment[layout.transport + kTcpFlags] = kept;
    SetIpv4Checksum(segment, piece);
    SetTransportChecksum(segment, piece);
    send(segment);
  }
}

}  // namespace ring3
