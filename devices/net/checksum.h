// Checksums and segments of IPv4, TCP and UDP, for cards that spare the guest that work (RFC 791, 793, 768, 1071).
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "devices/net/network.h"

namespace ring3 {

/// The one's complement sum of 16-bit big-endian words, `sum` included, folded to 16 bits; not inverted.
uint16_t InternetSum(std::span<const uint8_t> bytes, uint32_t sum = 0);

/// Where the parts of an IPv4 frame are. Offsets from the frame's start.
struct Ipv4Layout {
  size_t ip;         // header
  size_t transport;  // TCP or UDP header
  size_t end;        // of the packet: padding of short frames lies behind
  uint8_t protocol;  // IP's number: 6 is TCP, 17 UDP
  bool fragment;     // not a whole packet: its transport checksum cannot be told
};

/// False when the frame is not a well-formed IPv4 packet. VLAN tags are not looked behind.
bool FindIpv4(FrameView frame, Ipv4Layout& layout);

bool Ipv4HeaderGood(FrameView frame, const Ipv4Layout& layout);
/// TCP or UDP; true for others and for fragments. A UDP checksum of 0 is good.
bool TransportGood(FrameView frame, const Ipv4Layout& layout);

void SetIpv4Checksum(std::span<uint8_t> frame, const Ipv4Layout& layout);
/// TCP or UDP; others and fragments are left alone.
void SetTransportChecksum(std::span<uint8_t> frame, const Ipv4Layout& layout);

/// Sends a TCP packet in pieces of at most `segment_bytes` (at least 1) of payload, each with its own lengths, sequence
/// number, identification, flags and checksums. What is not TCP over IPv4 goes out unchanged.
void SendSegments(std::span<uint8_t> frame, size_t segment_bytes, const std::function<void(FrameView)>& send);

}  // namespace ring3
