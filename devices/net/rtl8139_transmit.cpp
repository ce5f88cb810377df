// The RTL8139's transmitter: four buffers in C mode, two rings of descriptors in C+ mode.
#include <algorithm>
#include <cstring>

#include "devices/net/checksum.h"
#include "devices/net/rtl8139.h"

namespace ring3 {

using namespace rtl8139;

namespace {

constexpr unsigned kBuffers = 4;
constexpr size_t kVlanAt = 12;
constexpr uint32_t kTxResultMask = kOwn;  // the chip clears it; error bits stay clear
constexpr size_t kTallyBytes = 64;

}  // namespace

/// Frames go out and, in loopback mode, come back instead.
void Rtl8139::Transmit(FrameView frame) {
  std::vector<uint8_t> padded;
  if (frame.size() < kShortestFrame) {
    padded.assign(frame.begin(), frame.end());
    padded.resize(kShortestFrame);
    frame = padded;
  }
  ++tally_.tx_ok;
  if ((Dword(kTxConfig) & kLoopbackMask) == kLoopbackMask) {
    if (!ReceiveFrame(frame)) ++missed_, held_ = false;
  } else {
    network_.Send(frame);
  }
}

// --- C mode ---

/// A write to TSD: with OWN clear the buffer is the chip's.
void Rtl8139::StartTransmit(unsigned index, uint32_t status) {
  tx_status_[index] = status & ~(kTxUnderrun | kTxStatusOk | kTxAborted);
  TransmitPending();
}

/// Buffers go out in turn.
void Rtl8139::TransmitPending() {
  for (unsigned i = 0; i < kBuffers && TransmitterOn() && IsMaster(); ++i) {
    if (tx_status_[next_tx_] & kTxOwn) return;
    TransmitBuffer(next_tx_);
    next_tx_ = (next_tx_ + 1) % kBuffers;
  }
}

void Rtl8139::TransmitBuffer(unsigned index) {
  const uint32_t bytes = tx_status_[index] & kTxSizeMask;
  if (bytes > kLongestTx) {
    tx_status_[index] |= kTxOwn | kTxAborted;
    ++tally_.tx_errors;
    return Raise(kTxError);
  }
  uint8_t frame[kLongestTx];
  dma_.Read(GuestPhysical(Dword(kTxAddress0 + 4 * index)), {frame, bytes});
  tx_status_[index] |= kTxOwn | kTxStatusOk;
  Transmit({frame, bytes});
  Raise(kTxOk);
}

uint16_t Rtl8139::TransmitSummary() const {
  uint32_t summary = 0;
  for (unsigned i = 0; i < kBuffers; ++i) {
    if (tx_status_[i] & kTxOwn) summary |= 1u << i;
    if (tx_status_[i] & kTxAborted) summary |= 1u << (4 + i);
    if (tx_status_[i] & kTxUnderrun) summary |= 1u << (8 + i);
    if (tx_status_[i] & kTxStatusOk) summary |= 1u << (12 + i);
  }
  return static_cast<uint16_t>(summary);
}

// --- C+ mode ---

/// All that the driver has handed over. A ring has at most kRingDescriptors, so a poll looks at no more.
void Rtl8139::PollRing(uint32_t ring_register, unsigned& next) {
  if (!CPlus(kCPlusTx) || !TransmitterOn() || !IsMaster()) return;
  const uint64_t ring = Qword(ring_register);
  bool any = false;
  for (unsigned i = 0; i < kRingDescriptors; ++i) {
    const uint64_t address = ring + next * kDescriptorBytes;
    Descriptor descriptor = ReadDescriptor(address);
    if (!(descriptor.status & kOwn)) break;
    const bool end = descriptor.status & kEndOfRing || next + 1 == kRingDescriptors;
    TransmitDescriptor(descriptor);
    WriteDescriptorStatus(address, descriptor);
    next = end ? 0 : next + 1;
    any = true;
  }
  Raise(any ? kTxOk | kTxNoDescriptor : kTxNoDescriptor);
}

/// Adds a fragment; sends the frame with its last one. False when the frame was too long.
bool Rtl8139::TransmitDescriptor(Descriptor& descriptor) {
  if (descriptor.status & kFirst) {
    assembling_.clear();
    first_status_ = descriptor.status;
  }
  const size_t bytes = descriptor.status & kTxBytesMask;
  const size_t before = assembling_.size();
  const bool fits = before + bytes <= kLongestFrame;
  if (fits) {
    assembling_.resize(before + bytes);
    dma_.Read(GuestPhysical(descriptor.buffer), std::span(assembling_).subspan(before));
  }
  if (descriptor.status & kLast) {
    if (fits) Finish(descriptor);
    assembling_.clear();
  }
  if (!fits) ++tally_.tx_errors;
  descriptor.status &= ~kTxResultMask;
  return fits;
}

/// Does what the descriptors ask for with a whole frame.
void Rtl8139::Finish(const Descriptor& last) {
  Ipv4Layout layout;
  const uint32_t status = first_status_;
  const bool found = FindIpv4(assembling_, layout);
  if ((status & kLargeSend) && found) {
    const uint32_t segment = status >> kSegmentSizeShift & kSegmentSizeMask;
    SendSegments(assembling_, std::max(segment, 1u), [this](FrameView frame) { Transmit(frame); });
    return;
  }
  if (found && (status & kTxIpChecksum)) SetIpv4Checksum(assembling_, layout);
  if (found && (status & (kTxTcpChecksum | kTxUdpChecksum))) SetTransportChecksum(assembling_, layout);
  if ((last.vlan & kTxTagged) && assembling_.size() >= kVlanAt) {
    const uint8_t tag[] = {0x81, 0x00, static_cast<uint8_t>(last.vlan), static_cast<uint8_t>(last.vlan >> 8)};
    assembling_.insert(assembling_.begin() + kVlanAt, std::begin(tag), std::end(tag));
  }
  Transmit(assembling_);
}

/// Writes the counters where the guest asked and clears the request (data sheet of the C+, 6.11).
void Rtl8139::DumpTally() {
  uint8_t dump[kTallyBytes] = {};
  const auto put = [&dump](size_t at, auto value) { std::memcpy(dump + at, &value, sizeof value); };
  put(0, tally_.tx_ok);
  put(8, tally_.rx_ok);
  put(16, tally_.tx_errors);
  put(24, tally_.rx_errors);
  put(28, tally_.missed);
  put(40, uint64_t{tally_.rx_physical});
  put(48, uint64_t{tally_.rx_broadcast});
  put(56, tally_.rx_multicast);
  put(60, tally_.tx_aborted);
  if (IsMaster()) dma_.Write(GuestPhysical(Qword(kTallyAddress) & ~uint64_t{63}), dump);
  SetDword(kTallyAddress, Dword(kTallyAddress) & ~kDumpTally);
}

}  // namespace ring3
