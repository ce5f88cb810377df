// Frames through the NE2000's ring of pages.
#include <algorithm>

#include "devices/net/ethernet.h"
#include "devices/net/ne2000.h"
#include "devices/net/ne2000_registers.h"

namespace ring3 {

using namespace ne2000;

namespace {

constexpr unsigned kPageBytes = 256, kHeaderBytes = 4, kCrcBytes = 4;
constexpr size_t kLongest = 1514 + 4;  // a VLAN tag more
constexpr unsigned kLongestTransmit = 1536;
// Drivers read a few frames, acknowledge the interrupt, and are told of the rest by the next. So no more arrive between
// two acknowledgements.
constexpr unsigned kBurst = 8;
// Some acknowledge without having read. On a wire the next frame would remind them; here it may be waiting for room.
constexpr uint64_t kReminderNs = 1'000'000;

}  // namespace

void Ne2000::Transmit() {
  if (transmit_bytes_ > kLongestTransmit) {  // jabber: no such frame reaches the wire
    transmit_status_ = kGroupAddress;
    return Raise(kTransmitError);
  }
  std::array<uint8_t, kLongestTransmit> frame{};
  for (unsigned i = 0; i < transmit_bytes_; ++i) {
    frame[i] = ReadMemory(static_cast<uint16_t>((transmit_page_ << 8) + i));
  }
  const size_t bytes = std::max<size_t>(transmit_bytes_, kShortestFrame);
  if ((transmit_config_ & kLoopbackMask) == 0) network_.Send(std::span(frame).first(bytes));
  transmit_status_ = kIntact;
  Raise(kTransmitted);
}

bool Ne2000::Accepts(FrameView frame) const {
  switch (TargetOf(frame)) {
    case FrameTarget::kBroadcast:
      return receive_config_ & kAcceptBroadcast;
    case FrameTarget::kMulticast: {
      const unsigned hash = MulticastHash(frame);
      return (receive_config_ & kAcceptMulticast) && (multicast_[hash / 8] >> (hash % 8) & 1);
    }
    case FrameTarget::kUnicast:
      return (receive_config_ & kPromiscuous) || IsAddressedTo(frame, physical_);
  }
  return false;
}

/// From the page that is written next to the one that the driver reads next.
unsigned Ne2000::FreePages() const {
  const unsigned ring = page_stop_ - page_start_;
  return current_ < boundary_ ? boundary_ - current_ : ring - std::min<unsigned>(ring, current_ - boundary_);
}

/// Whether there are frames between the two, by either convention: drivers keep the boundary at the page that they read
/// next, or one behind it.
bool Ne2000::HasUnread() const { return boundary_ != current_ && NextPage(boundary_) != current_; }

void Ne2000::ReceiveAcknowledged() {
  burst_ = 0;
  network_.ReceiveReady();
  if (HasUnread() && !(interrupt_status_ & kReceived)) reminder_.Schedule(clock_.NowNs() + kReminderNs);
}

void Ne2000::Remind() {
  if (HasUnread() && (command_ & kStart) && !(command_ & kStop)) Raise(kReceived);
}

uint8_t Ne2000::NextPage(uint8_t page) const {
  const auto next = static_cast<uint8_t>(page + 1);
  return next == page_stop_ ? page_start_ : next;
}

void Ne2000::Store(uint8_t& page, unsigned& offset, std::span<const uint8_t> bytes) {
  for (const uint8_t byte : bytes) {
    WriteMemory(static_cast<uint16_t>(page << 8 | offset), byte);
    if (++offset == kPageBytes) offset = 0, page = NextPage(page);
  }
}

bool Ne2000::ReceiveFrame(FrameView frame) {
  const bool running = (command_ & kStart) && !(command_ & kStop) && (transmit_config_ & kLoopbackMask) == 0;
  if (!running || frame.size() < kEthernetHeader || frame.size() > kLongest || page_stop_ <= page_start_) return true;
  if (!Accepts(frame)) return true;
  const bool group = TargetOf(frame) != FrameTarget::kUnicast;
  receive_status_ = static_cast<uint8_t>(kIntact | (group ? kGroupAddress : 0));
  if (receive_config_ & kMonitor) {
    receive_status_ |= kMissed;
    return true;
  }
  const size_t wire = std::max(frame.size(), kShortestFrame);
  const auto pages = static_cast<unsigned>((kHeaderBytes + wire + kCrcBytes + kPageBytes - 1) / kPageBytes);
  if (pages >= static_cast<unsigned>(page_stop_ - page_start_)) return true;  // would never fit
  if (burst_ >= kBurst || FreePages() <= pages) return false;
  ++burst_;

  uint8_t next = current_;
  for (unsigned i = 0; i < pages; ++i) next = NextPage(next);
  const auto counted = static_cast<uint16_t>(wire + kCrcBytes);
  const uint8_t header[] = {receive_status_, next, Low(counted), High(counted)};
  uint8_t page = current_;
  unsigned offset = 0;
  Store(page, offset, header);
  Store(page, offset, frame);
  std::array<uint8_t, kShortestFrame> padding{};
  Store(page, offset, std::span(padding).first(wire - frame.size()));
  current_ = next;
  Raise(kReceived);
  return true;
}

}  // namespace ring3
