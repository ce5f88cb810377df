#include "devices/virtio/virtio_net.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "devices/net/checksum.h"
#include "devices/net/ethernet.h"

namespace ring3 {
namespace {

constexpr uint16_t kTransitionalId = 0x1000;
constexpr uint32_t kEthernetClass = 0x020000;
constexpr uint16_t kQueueSize = 256;
constexpr unsigned kReceiveQueue = 0, kTransmitQueue = 1, kControlQueue = 2, kQueues = 3;

constexpr uint64_t kChecksum = 1u << 0, kGuestChecksum = 1u << 1, kMacFeature = 1u << 5, kHostTso4 = 1u << 11,
                   kMergeable = 1u << 15, kStatusFeature = 1u << 16, kControlVq = 1u << 17, kControlRx = 1u << 18,
                   kControlRxExtra = 1u << 20, kControlMacAddress = 1u << 23;

// Configuration: the address, then status.
constexpr unsigned kConfigStatus = 6, kConfigBytes = 8;
constexpr uint8_t kLinkUp = 1;

// The header in front of each frame.
struct Header {
  uint8_t flags;
  uint8_t gso_type;
  uint16_t header_bytes;
  uint16_t gso_size;
  uint16_t checksum_start, checksum_offset;
  uint16_t buffers;  // not there without mergeable buffers and version 1
};
constexpr size_t kShortHeader = 10, kFullHeader = 12;
static_assert(sizeof(Header) == kFullHeader);
constexpr uint8_t kNeedsChecksum = 1, kDataValid = 2;
constexpr uint8_t kGsoNone = 0, kGsoTcp4 = 1, kGsoEcn = 0x80;

// Control commands.
constexpr uint8_t kClassRx = 0, kClassMac = 1;
constexpr uint8_t kMacTableSet = 0, kMacAddressSet = 1;
constexpr uint8_t kOk = 0, kError = 1;
constexpr size_t kMostControlBytes = 4096;
constexpr size_t kMostAddresses = 64;

}  // namespace

VirtioNet::VirtioNet(PhysicalMemory& memory, NetworkBackend& network, const MacAddress& mac)
    : VirtioDevice(memory, {.type = virtio::kNet,
                            .transitional_id = kTransitionalId,
                            .class_code = kEthernetClass,
                            .features = kChecksum | kGuestChecksum | kMacFeature | kHostTso4 | kMergeable |
                                        kStatusFeature | kControlVq | kControlRx | kControlRxExtra | kControlMacAddress,
                            .queues = kQueues,
                            .queue_size = kQueueSize,
                            .config_bytes = kConfigBytes}),
      network_(network),
      permanent_(mac) {
  SetMac(mac);
  Config()[kConfigStatus] = kLinkUp;
  network_.Connect(*this);
}

void VirtioNet::DeviceReset() {
  filter_ = {};
  SetMac(permanent_);
}

MacAddress VirtioNet::Mac() {
  MacAddress mac;
  std::copy_n(Config().begin(), mac.size(), mac.begin());
  return mac;
}

void VirtioNet::SetMac(const MacAddress& mac) { std::copy(mac.begin(), mac.end(), Config().begin()); }

/// Drivers of the legacy interface set their address by just writing it.
void VirtioNet::ConfigWritten8(unsigned offset, uint8_t value) {
  if (offset < sizeof(MacAddress) && !HasFeature(virtio::kVersion1)) Config()[offset] = value;
}

size_t VirtioNet::HeaderBytes() const {
  return HasFeature(kMergeable) || HasFeature(virtio::kVersion1) ? kFullHeader : kShortHeader;
}

void VirtioNet::QueueNotified(unsigned index) {
  switch (index) {
    case kReceiveQueue:
      return network_.ReceiveReady();
    case kTransmitQueue:
      return TransmitAll();
    default:
      return ControlAll();
  }
}

// --- receiving ---

bool VirtioNet::Accepts(FrameView frame) const {
  if (filter_.promiscuous) return true;
  const auto listed = [&] {
    return std::any_of(filter_.addresses.begin(), filter_.addresses.end(),
                       [&](const MacAddress& address) { return IsAddressedTo(frame, address); });
  };
  switch (TargetOf(frame)) {
    case FrameTarget::kBroadcast:
      return !filter_.no_broadcast;
    case FrameTarget::kMulticast:
      if (filter_.no_multicast) return false;
      return filter_.all_multicast || filter_.too_many_multicast || listed();
    case FrameTarget::kUnicast:
      if (filter_.no_unicast) return false;
      return filter_.all_unicast || filter_.too_many_unicast || listed() ||
             IsAddressedTo(frame, const_cast<VirtioNet*>(this)->Mac());
  }
  return false;
}

/// One chain, or as many as it takes where the driver lets frames be spread.
bool VirtioNet::ReceiveFrame(FrameView frame) {
  Virtqueue& queue = Queue(kReceiveQueue);
  if (!Running() || !queue.Enabled() || frame.size() < kEthernetHeader || !Accepts(frame)) return true;
  const size_t header_bytes = HeaderBytes();
  const bool mergeable = HasFeature(kMergeable);
  Header header = {};
  if (HasFeature(kGuestChecksum)) header.flags = kDataValid;  // nothing here damages frames

  std::vector<VirtioChain> chains;
  uint64_t room = 0;
  while (room < header_bytes + frame.size() && (chains.empty() || mergeable)) {
    auto chain = queue.Pop();
    if (!chain) {
      for (size_t i = 0; i < chains.size(); ++i) queue.Unpop();
      if (queue.Broken()) Finish(kReceiveQueue);
      return queue.Broken();  // broken: the frame is lost, else it waits
    }
    const uint64_t bytes = chain->WritableBytes();
    room += bytes;
    chains.push_back(std::move(*chain));
    if (chains.front().WritableBytes() < header_bytes || bytes == 0) {
      Fail();
      return true;
    }
  }
  if (room < header_bytes + frame.size()) {  // would be cut
    queue.Unpop();
    return true;
  }
  header.buffers = static_cast<uint16_t>(chains.size());
  queue.Write(chains[0], 0, std::span(reinterpret_cast<const uint8_t*>(&header), header_bytes));
  size_t offset = header_bytes;
  for (const VirtioChain& chain : chains) {
    const size_t written = queue.Write(chain, offset, frame);
    queue.Push(chain.head, static_cast<uint32_t>(offset + written));
    frame = frame.subspan(written);
    offset = 0;
  }
  Finish(kReceiveQueue);
  return true;
}

// --- sending ---

void VirtioNet::TransmitAll() {
  Virtqueue& queue = Queue(kTransmitQueue);
  for (unsigned i = 0; i < Virtqueue::kLargest; ++i) {
    const auto chain = queue.Pop();
    if (!chain) break;
    Transmit(*chain);
    queue.Push(chain->head, 0);
  }
  Finish(kTransmitQueue);
}

/// The network takes whole IP packets, so a large TCP segment needs no cutting, just its checksum.
void VirtioNet::Transmit(const VirtioChain& chain) {
  Virtqueue& queue = Queue(kTransmitQueue);
  const size_t header_bytes = HeaderBytes();
  const uint64_t total = chain.ReadableBytes();
  if (total < header_bytes + kEthernetHeader || total - header_bytes > kLongestFrame) return;
  Header header = {};
  queue.Read(chain, 0, std::span(reinterpret_cast<uint8_t*>(&header), header_bytes));
  frame_.resize(static_cast<size_t>(total) - header_bytes);
  queue.Read(chain, header_bytes, frame_);
  const uint8_t gso = header.gso_type & static_cast<uint8_t>(~kGsoEcn);
  if (gso != kGsoNone && gso != kGsoTcp4) return;
  if (gso == kGsoTcp4) {
    Ipv4Layout layout;
    if (!FindIpv4(frame_, layout)) return;
    SetIpv4Checksum(frame_, layout);
    SetTransportChecksum(frame_, layout);
  } else if (header.flags & kNeedsChecksum) {
    CompleteChecksum(frame_, header.checksum_start, header.checksum_offset);
  }
  network_.Send(frame_);
}

/// The field holds the pseudo header's sum already.
void VirtioNet::CompleteChecksum(std::span<uint8_t> frame, size_t start, size_t offset) const {
  if (start + offset + 2 > frame.size()) return;
  const auto checksum = static_cast<uint16_t>(~InternetSum(frame.subspan(start)));
  frame[start + offset] = static_cast<uint8_t>(checksum >> 8);
  frame[start + offset + 1] = static_cast<uint8_t>(checksum);
}

// --- the control queue ---

void VirtioNet::ControlAll() {
  Virtqueue& queue = Queue(kControlQueue);
  for (unsigned i = 0; i < Virtqueue::kLargest; ++i) {
    const auto chain = queue.Pop();
    if (!chain) break;
    const uint8_t answer = Control(*chain) ? kOk : kError;
    const size_t written = queue.Write(*chain, 0, {&answer, 1});
    queue.Push(chain->head, static_cast<uint32_t>(written));
  }
  Finish(kControlQueue);
}

bool VirtioNet::Control(const VirtioChain& chain) {
  std::vector<uint8_t> message(static_cast<size_t>(std::min<uint64_t>(chain.ReadableBytes(), kMostControlBytes)));
  Queue(kControlQueue).Read(chain, 0, message);
  if (message.size() < 3) return false;
  const std::span<const uint8_t> data = std::span(message).subspan(2);
  if (message[0] == kClassRx) return ControlReceive(message[1], data[0] != 0);
  return message[0] == kClassMac && ControlMac(message[1], data);
}

bool VirtioNet::ControlReceive(uint8_t command, bool on) {
  bool* const modes[] = {&filter_.promiscuous,  &filter_.all_multicast, &filter_.all_unicast,
                         &filter_.no_multicast, &filter_.no_unicast,    &filter_.no_broadcast};
  if (command >= std::size(modes)) return false;
  *modes[command] = on;
  return true;
}

/// A table: a count of four bytes and that many addresses, for unicast, then for multicast.
bool VirtioNet::ControlMac(uint8_t command, std::span<const uint8_t> data) {
  if (command == kMacAddressSet && data.size() == sizeof(MacAddress)) {
    std::copy(data.begin(), data.end(), Config().begin());
    return true;
  }
  if (command != kMacTableSet) return false;
  Filter tables;
  for (bool* too_many : {&tables.too_many_unicast, &tables.too_many_multicast}) {
    uint32_t count;
    if (data.size() < sizeof count) return false;
    std::memcpy(&count, data.data(), sizeof count);
    data = data.subspan(sizeof count);
    if (count > data.size() / sizeof(MacAddress)) return false;
    *too_many = count > kMostAddresses;
    for (uint32_t i = 0; i < count; ++i) {
      MacAddress address;
      std::copy_n(data.begin(), address.size(), address.begin());
      if (!*too_many) tables.addresses.push_back(address);
      data = data.subspan(address.size());
    }
  }
  filter_.addresses = std::move(tables.addresses);
  filter_.too_many_unicast = tables.too_many_unicast;
  filter_.too_many_multicast = tables.too_many_multicast;
  return true;
}

}  // namespace ring3
