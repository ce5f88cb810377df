// The RTL8139's receiver: filter, ring buffer of C mode, descriptors of C+ mode.
#include <algorithm>
#include <cstring>

#include "devices/net/checksum.h"
#include "devices/net/ethernet.h"
#include "devices/net/rtl8139.h"

namespace ring3 {

using namespace rtl8139;

namespace {

constexpr size_t kHeaderBytes = 4, kCrcBytes = 4;
constexpr uint32_t kSmallestRing = 8192;
constexpr uint32_t kRingSizeMask = 3;
constexpr uint32_t kLargestRing = 65536;
constexpr uint16_t kReadPointerLag = 16;  // CAPR is 16 bytes behind what the driver has read
constexpr size_t kLongestReceived = 8192 - kHeaderBytes - kCrcBytes;
constexpr size_t kVlanBytes = 4, kVlanAt = 12;
constexpr uint8_t kTcpNumber = 6, kUdpNumber = 17;

}  // namespace

uint32_t Rtl8139::RingBytes() const { return kSmallestRing << (Dword(kRxConfig) >> kRingSizeShift & kRingSizeMask); }

/// Never quite the whole ring: then it would look empty.
uint32_t Rtl8139::RingRoom() const {
  const uint32_t ring = RingBytes();
  const uint32_t read = static_cast<uint16_t>(Word(kReadPointer) + kReadPointerLag) % ring;
  const uint32_t written = Word(kWritePointer) % ring;
  return read == written ? ring : (read - written + ring) % ring;
}

/// The header's bits of an accepted frame; 0 when the filter drops it.
uint16_t Rtl8139::Accepted(FrameView frame) const {
  const uint32_t config = Dword(kRxConfig);
  MacAddress mac;
  std::copy_n(registers_.begin() + kMac, mac.size(), mac.begin());
  switch (TargetOf(frame)) {
    case FrameTarget::kBroadcast:
      return config & (kAcceptBroadcast | kAcceptAll) ? kHeaderOk | kHeaderBroadcast : 0;
    case FrameTarget::kMulticast: {
      const unsigned hash = MulticastHash(frame);
      const bool listed = registers_[kMulticast + hash / 8] >> (hash % 8) & 1;
      return config & kAcceptAll || (listed && config & kAcceptMulticast) ? kHeaderOk | kHeaderMulticast : 0;
    }
    case FrameTarget::kUnicast: {
      const bool mine = IsAddressedTo(frame, mac);
      if (mine && config & (kAcceptMine | kAcceptAll)) return kHeaderOk | kHeaderMine;
      return config & kAcceptAll ? kHeaderOk : 0;
    }
  }
  return 0;
}

bool Rtl8139::ReceiveFrame(FrameView frame) {
  if (!ReceiverOn() || !IsMaster() || frame.size() < kEthernetHeader || frame.size() > kLongestReceived) return true;
  const uint16_t header = Accepted(frame);
  if (header == 0) return true;
  std::vector<uint8_t> padded;
  if (frame.size() < kShortestFrame) {  // the wire has no shorter ones
    padded.assign(frame.begin(), frame.end());
    padded.resize(kShortestFrame);
    frame = padded;
  }
  const bool stored = CPlus(kCPlusRx) ? StoreInDescriptors(frame, header) : StoreInRing(frame, header);
  if (!stored) {
    held_ = true;
    retry_.Schedule(clock_.NowNs() + 1'000'000);
    return false;
  }
  ++tally_.rx_ok;
  if (header & kHeaderBroadcast) ++tally_.rx_broadcast;
  if (header & kHeaderMulticast) ++tally_.rx_multicast;
  if (header & kHeaderMine) ++tally_.rx_physical;
  Raise(kRxOk);
  return true;
}

// --- C mode ---

bool Rtl8139::StoreInRing(FrameView frame, uint16_t header) {
  const uint32_t ring = RingBytes();
  const auto bytes = static_cast<uint32_t>(frame.size() + kCrcBytes);
  const auto needed = static_cast<uint32_t>((kHeaderBytes + bytes + 3) & ~size_t{3});
  if (RingRoom() <= needed) return false;
  uint32_t at = Word(kWritePointer) % ring;
  const uint8_t head[] = {static_cast<uint8_t>(header), static_cast<uint8_t>(header >> 8), static_cast<uint8_t>(bytes),
                          static_cast<uint8_t>(bytes >> 8)};
  const uint32_t crc = FrameCheckSequence(frame);
  const uint32_t end = (at + needed) % ring;
  WriteRing(at, head);
  WriteRing(at, frame);
  uint8_t tail[kCrcBytes];
  std::memcpy(tail, &crc, sizeof tail);
  WriteRing(at, tail);
  SetWord(kWritePointer, static_cast<uint16_t>(end));
  return true;
}

/// Around the ring's end, unless the driver keeps room behind it for the rest of a frame.
void Rtl8139::WriteRing(uint32_t& at, std::span<const uint8_t> bytes) {
  const uint32_t ring = RingBytes();
  const bool wraps = (Dword(kRxConfig) & kNoWrap) == 0 || ring == kLargestRing;
  const GuestPhysical base(Dword(kRxBuffer));
  if (!wraps || at + bytes.size() <= ring) {
    dma_.Write(base + at, bytes);
    at += static_cast<uint32_t>(bytes.size());
    if (wraps) at %= ring;
    return;
  }
  const size_t before = ring - at;
  dma_.Write(base + at, bytes.first(before));
  dma_.Write(base, bytes.subspan(before));
  at = static_cast<uint32_t>(bytes.size() - before);
}

// --- C+ mode ---

Rtl8139::Descriptor Rtl8139::ReadDescriptor(uint64_t address) {
  uint32_t words[kDescriptorBytes / 4];
  dma_.Read(GuestPhysical(address), {reinterpret_cast<uint8_t*>(words), sizeof words});
  return {words[0], words[1], words[2] | uint64_t{words[3]} << 32};
}

/// The first two words.
void Rtl8139::WriteDescriptorStatus(uint64_t address, const Descriptor& descriptor) {
  const uint32_t words[] = {descriptor.status, descriptor.vlan};
  dma_.Write(GuestPhysical(address + 4), {reinterpret_cast<const uint8_t*>(&words[1]), 4});
  dma_.Write(GuestPhysical(address), {reinterpret_cast<const uint8_t*>(&words[0]), 4});  // the owner comes last
}

uint32_t Rtl8139::DescriptorRxStatus(FrameView frame, uint16_t header) const {
  uint32_t status = 0;
  if (header & kHeaderMulticast) status |= kRxMulticast;
  if (header & kHeaderMine) status |= kRxMine;
  if (header & kHeaderBroadcast) status |= kRxBroadcast;
  Ipv4Layout layout;
  if (!(Word(kCPlusCommand) & kRxChecksum) || !FindIpv4(frame, layout)) return status;
  if (!Ipv4HeaderGood(frame, layout)) status |= kRxIpBad;
  const bool tcp = layout.protocol == kTcpNumber && !layout.fragment;
  const bool udp = layout.protocol == kUdpNumber && !layout.fragment;
  status |= tcp ? kRxIsTcp : udp ? kRxIsUdp : kRxIsIp;
  if ((tcp || udp) && !TransportGood(frame, layout)) status |= tcp ? kRxTcpBad : kRxUdpBad;
  return status;
}

/// As many descriptors as the frame needs, all of them free before the first is touched.
bool Rtl8139::StoreInDescriptors(FrameView frame, uint16_t header) {
  std::vector<uint8_t> wire(frame.begin(), frame.end());
  uint32_t vlan = 0;
  if ((Word(kCPlusCommand) & kRxVlan) && frame.size() >= kEthernetHeader + kVlanBytes && wire[kVlanAt] == 0x81 &&
      wire[kVlanAt + 1] == 0x00) {
    vlan = kRxTagged | wire[kVlanAt + 2] | wire[kVlanAt + 3] << 8;
    wire.erase(wire.begin() + kVlanAt, wire.begin() + kVlanAt + kVlanBytes);
  }
  const uint32_t status = DescriptorRxStatus(wire, header);
  const uint32_t crc = FrameCheckSequence(wire);
  wire.insert(wire.end(), reinterpret_cast<const uint8_t*>(&crc), reinterpret_cast<const uint8_t*>(&crc) + kCrcBytes);

  const uint64_t ring = Qword(kRxRing);
  std::vector<std::pair<unsigned, Descriptor>> used;
  size_t room = 0;
  for (unsigned index = next_rx_; room < wire.size() && used.size() < kRingDescriptors;) {
    const Descriptor descriptor = ReadDescriptor(ring + index * kDescriptorBytes);
    if (!(descriptor.status & kOwn)) break;
    room += descriptor.status & kRxBytesMask;
    used.emplace_back(index, descriptor);
    index = descriptor.status & kEndOfRing || index + 1 == kRingDescriptors ? 0 : index + 1;
  }
  if (room < wire.size()) {
    Raise(kRxOverflow);
    return false;
  }
  size_t at = 0;
  for (auto& [index, descriptor] : used) {
    const size_t bytes = std::min<size_t>(descriptor.status & kRxBytesMask, wire.size() - at);
    dma_.Write(GuestPhysical(descriptor.buffer), std::span(wire).subspan(at, bytes));
    uint32_t done = (descriptor.status & kEndOfRing) | status | static_cast<uint32_t>(at + bytes);
    if (at == 0) done |= kFirst;
    at += bytes;
    if (at == wire.size()) done |= kLast;
    WriteDescriptorStatus(ring + index * kDescriptorBytes, {done, vlan, 0});
  }
  const auto& [last, descriptor] = used.back();
  next_rx_ = descriptor.status & kEndOfRing || last + 1 == kRingDescriptors ? 0 : last + 1;
  return true;
}

}  // namespace ring3
