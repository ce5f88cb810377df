#include "devices/virtio/virtio_block.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace ring3 {
namespace {

constexpr uint16_t kTransitionalId = 0x1001;
constexpr uint32_t kStorageClass = 0x010000;
constexpr uint16_t kQueueSize = 256;
constexpr uint64_t kSectorBytes = 512;
constexpr uint32_t kMostSegments = kQueueSize - 2;
// Of the host's memory; more waits in the ring.
constexpr uint64_t kMostInFlightBytes = 32u << 20;

constexpr uint64_t kSegmentsFeature = 1u << 2, kReadOnlyFeature = 1u << 5, kBlockSizeFeature = 1u << 6,
                   kFlushFeature = 1u << 9;

// Configuration.
constexpr size_t kConfigCapacity = 0, kConfigSegments = 12, kConfigBlockSize = 20;
constexpr unsigned kConfigBytes = 60;

struct Header {
  uint32_t type, reserved;
  uint64_t sector;
};
enum RequestType : uint32_t { kIn = 0, kOut = 1, kFlush = 4, kGetIdentity = 8 };
constexpr uint8_t kOk = 0, kIoError = 1, kUnsupported = 2;
constexpr size_t kIdentityBytes = 20;

}  // namespace

VirtioBlock::VirtioBlock(PhysicalMemory& memory, Disk& disk, const std::string& serial)
    : VirtioDevice(memory, {.type = virtio::kBlock,
                            .transitional_id = kTransitionalId,
                            .class_code = kStorageClass,
                            .features = kSegmentsFeature | kBlockSizeFeature | kFlushFeature |
                                        (disk.ReadOnly() ? kReadOnlyFeature : 0),
                            .queues = 1,
                            .queue_size = kQueueSize,
                            .config_bytes = kConfigBytes}),
      disk_(disk),
      serial_(serial.substr(0, kIdentityBytes)) {
  const uint64_t sectors = disk.SizeBytes() / kSectorBytes;
  const auto block = static_cast<uint32_t>(kSectorBytes);
  std::memcpy(&Config()[kConfigCapacity], &sectors, sizeof sectors);
  std::memcpy(&Config()[kConfigSegments], &kMostSegments, sizeof kMostSegments);
  std::memcpy(&Config()[kConfigBlockSize], &block, sizeof block);
}

void VirtioBlock::DeviceReset() {
  ++generation_;
  in_flight_bytes_ = 0;
}

void VirtioBlock::QueueNotified(unsigned) {
  TakeRequests();
  Finish(0);
}

void VirtioBlock::TakeRequests() {
  for (unsigned i = 0; i < Virtqueue::kLargest && in_flight_bytes_ < kMostInFlightBytes; ++i) {
    auto chain = Queue(0).Pop();
    if (!chain) return;
    Start(std::make_shared<const VirtioChain>(std::move(*chain)));
  }
}

void VirtioBlock::Start(const ChainPointer& chain) {
  Header header;
  const bool whole = Queue(0).Read(*chain, 0, {reinterpret_cast<uint8_t*>(&header), sizeof header}) == sizeof header;
  if (!whole || chain->WritableBytes() == 0) return Fail();
  switch (header.type) {
    case kIn:
      return StartRead(chain, header.sector);
    case kOut:
      return StartWrite(chain, header.sector);
    case kFlush:
      return disk_.Flush(WhenDone(chain, 0, false));
    case kGetIdentity:
      return AnswerIdentity(*chain);
    default:
      return Complete(*chain, kUnsupported, 0);
  }
}

void VirtioBlock::StartRead(const ChainPointer& chain, uint64_t sector) {
  const uint64_t bytes = chain->WritableBytes() - 1;
  if (bytes % kSectorBytes != 0 || sector > disk_.SizeBytes() / kSectorBytes) return Complete(*chain, kIoError, 0);
  disk_.Read(sector * kSectorBytes, Disk::Bytes(static_cast<size_t>(bytes)), WhenDone(chain, bytes, true));
}

void VirtioBlock::StartWrite(const ChainPointer& chain, uint64_t sector) {
  const uint64_t bytes = chain->ReadableBytes() - sizeof(Header);
  if (bytes % kSectorBytes != 0 || sector > disk_.SizeBytes() / kSectorBytes || disk_.ReadOnly())
    return Complete(*chain, kIoError, 0);
  Disk::Bytes data(static_cast<size_t>(bytes));
  Queue(0).Read(*chain, sizeof(Header), data);
  disk_.Write(sector * kSectorBytes, std::move(data), WhenDone(chain, bytes, false));
}

Disk::Done VirtioBlock::WhenDone(const ChainPointer& chain, uint64_t bytes, bool is_read) {
  in_flight_bytes_ += bytes;
  return [this, chain, bytes, is_read, generation = generation_](int error, const Disk::Bytes& data) {
    if (generation != generation_) return;
    in_flight_bytes_ -= bytes;
    const bool fill = is_read && error == 0;
    if (fill) Queue(0).Write(*chain, 0, data);
    Complete(*chain, error == 0 ? kOk : kIoError, fill ? bytes : 0);
    if (Running()) TakeRequests();
    Finish(0);
  };
}

void VirtioBlock::AnswerIdentity(const VirtioChain& chain) {
  std::array<uint8_t, kIdentityBytes> identity{};
  std::copy(serial_.begin(), serial_.end(), identity.begin());
  const auto room = static_cast<size_t>(std::min<uint64_t>(chain.WritableBytes() - 1, kIdentityBytes));
  Queue(0).Write(chain, 0, std::span(identity).first(room));
  Complete(chain, kOk, room);
}

void VirtioBlock::Complete(const VirtioChain& chain, uint8_t status, uint64_t written) {
  Queue(0).Write(chain, chain.WritableBytes() - 1, {&status, 1});
  Queue(0).Push(chain.head, static_cast<uint32_t>(written + 1));
}

}  // namespace ring3
