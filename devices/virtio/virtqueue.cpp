#include "devices/virtio/virtqueue.h"

namespace ring3 {
namespace {

constexpr unsigned kDescriptorBytes = 16;
constexpr uint16_t kNext = 1, kWritable = 2, kIndirect = 4;  // descriptor flags
constexpr uint16_t kNoInterrupt = 1;                         // flag of the available ring
// Both rings: flags, index, then the elements; behind those the other side's event index.
constexpr unsigned kRingIndex = 2, kRingElements = 4, kUsedElementBytes = 8, kAvailableElementBytes = 2;

template <class Transfer>
size_t ForBuffers(const std::vector<VirtioBuffer>& buffers, uint64_t offset, size_t bytes, const Transfer& transfer) {
  size_t done = 0;
  for (const VirtioBuffer& buffer : buffers) {
    if (done == bytes) break;
    if (offset >= buffer.bytes) {
      offset -= buffer.bytes;
      continue;
    }
    const size_t here = std::min<size_t>(bytes - done, buffer.bytes - offset);
    transfer(buffer.address + offset, done, here);
    done += here;
    offset = 0;
  }
  return done;
}

uint64_t TotalBytes(const std::vector<VirtioBuffer>& buffers) {
  uint64_t total = 0;
  for (const VirtioBuffer& buffer : buffers) total += buffer.bytes;
  return total;
}

}  // namespace

uint64_t VirtioChain::ReadableBytes() const { return TotalBytes(readable); }
uint64_t VirtioChain::WritableBytes() const { return TotalBytes(writable); }

bool Virtqueue::Enable(const Place& place, bool event_index) {
  Disable();
  const uint16_t size = place.size;
  if (size == 0 || size > kLargest || (size & (size - 1)) != 0) return false;
  if (!dma_.IsMemory(place.descriptors, uint64_t{size} * kDescriptorBytes) ||
      !dma_.IsMemory(place.available, kRingElements + uint64_t{size} * kAvailableElementBytes + 2) ||
      !dma_.IsMemory(place.used, kRingElements + uint64_t{size} * kUsedElementBytes + 2)) {
    return false;
  }
  place_ = place;
  event_index_ = event_index;
  enabled_ = true;
  return true;
}

void Virtqueue::Disable() {
  enabled_ = broken_ = false;
  next_available_ = next_used_ = published_ = 0;
}

std::optional<VirtioChain> Virtqueue::Break() {
  broken_ = true;
  return std::nullopt;
}

/// The guest writes its event index only on a hint; without event indices it always notifies.
void Virtqueue::RequestNotification() {
  if (!event_index_) return;
  dma_.Store(place_.used + kRingElements + uint64_t{place_.size} * kUsedElementBytes, next_available_);
}

std::optional<VirtioChain> Virtqueue::Pop() {
  if (!enabled_ || broken_) return std::nullopt;
  const auto available = dma_.Load<uint16_t>(place_.available + kRingIndex);
  const auto waiting = static_cast<uint16_t>(available - next_available_);
  if (waiting == 0) {
    RequestNotification();
    return std::nullopt;
  }
  if (waiting > place_.size) return Break();
  const unsigned slot = next_available_ % place_.size;
  VirtioChain chain;
  chain.head = dma_.Load<uint16_t>(place_.available + (kRingElements + slot * kAvailableElementBytes));
  if (!Walk(chain)) return Break();
  ++next_available_;
  return chain;
}

/// Append() counts, so loops end.
bool Virtqueue::Walk(VirtioChain& chain) {
  unsigned index = chain.head;
  for (;;) {
    if (index >= place_.size) return false;
    const auto descriptor = dma_.Load<Descriptor>(place_.descriptors + index * kDescriptorBytes);
    if (descriptor.flags & kIndirect) {
      return (descriptor.flags & kNext) == 0 && WalkIndirect(chain, descriptor);
    }
    if (!Append(chain, descriptor)) return false;
    if ((descriptor.flags & kNext) == 0) return true;
    index = descriptor.next;
  }
}

bool Virtqueue::WalkIndirect(VirtioChain& chain, const Descriptor& table) {
  const uint32_t entries = table.bytes / kDescriptorBytes;
  if (entries == 0 || table.bytes % kDescriptorBytes != 0 || !dma_.IsMemory(GuestPhysical(table.address), table.bytes))
    return false;
  uint32_t index = 0;
  for (;;) {
    if (index >= entries) return false;
    const auto descriptor = dma_.Load<Descriptor>(GuestPhysical(table.address + uint64_t{index} * kDescriptorBytes));
    if ((descriptor.flags & kIndirect) || !Append(chain, descriptor)) return false;
    if ((descriptor.flags & kNext) == 0) return true;
    index = descriptor.next;
  }
}

bool Virtqueue::Append(VirtioChain& chain, const Descriptor& descriptor) {
  const VirtioBuffer buffer{GuestPhysical(descriptor.address), descriptor.bytes};
  chain.bytes += buffer.bytes;
  if (++chain.descriptors > kLongestChain || chain.bytes > kMostChainBytes) return false;
  if (!dma_.IsMemory(buffer.address, buffer.bytes)) return false;
  if (descriptor.flags & kWritable) {
    chain.writable.push_back(buffer);
  } else {
    if (!chain.writable.empty()) return false;  // all that is readable comes first
    chain.readable.push_back(buffer);
  }
  return true;
}

void Virtqueue::Push(uint16_t head, uint32_t written) {
  if (!enabled_) return;  // reset while the request was under way
  const uint32_t element[] = {head, written};
  dma_.Store(place_.used + (kRingElements + (next_used_ % place_.size) * kUsedElementBytes), element);
  ++next_used_;
}

bool Virtqueue::Publish() {
  if (!enabled_ || next_used_ == published_) return false;
  const uint16_t before = published_;
  dma_.Store(place_.used + kRingIndex, next_used_);
  published_ = next_used_;
  if (!event_index_) return (dma_.Load<uint16_t>(place_.available) & kNoInterrupt) == 0;
  const auto event =
      dma_.Load<uint16_t>(place_.available + kRingElements + uint64_t{place_.size} * kAvailableElementBytes);
  // Whether the index moved past the event (2.6.7.2).
  return static_cast<uint16_t>(next_used_ - event - 1) < static_cast<uint16_t>(next_used_ - before);
}

size_t Virtqueue::Read(const VirtioChain& chain, uint64_t offset, std::span<uint8_t> out) {
  return ForBuffers(chain.readable, offset, out.size(),
                    [&](GuestPhysical at, size_t from, size_t bytes) { dma_.Read(at, out.subspan(from, bytes)); });
}

size_t Virtqueue::Write(const VirtioChain& chain, uint64_t offset, std::span<const uint8_t> data) {
  return ForBuffers(chain.writable, offset, data.size(),
                    [&](GuestPhysical at, size_t from, size_t bytes) { dma_.Write(at, data.subspan(from, bytes)); });
}

}  // namespace ring3
