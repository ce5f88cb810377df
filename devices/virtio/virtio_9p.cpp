#include "devices/virtio/virtio_9p.h"

#include <algorithm>

namespace ring3 {
namespace {

constexpr uint16_t kTransitionalId = 0x1009;
constexpr uint32_t kOtherClass = 0x000200;
constexpr uint16_t kQueueSize = 128;
constexpr uint64_t kMountTag = 1u << 0;
constexpr size_t kLargestMessage = ninep::Server::kLargestMessage;

}  // namespace

Virtio9p::Virtio9p(PhysicalMemory& memory, const ninep::SharedFolder& folder, const std::string& tag)
    : VirtioDevice(memory, {.type = virtio::kNinep,
                            .transitional_id = kTransitionalId,
                            .class_code = kOtherClass,
                            .features = kMountTag,
                            .queues = 1,
                            .queue_size = kQueueSize,
                            .config_bytes = static_cast<unsigned>(2 + tag.size())}),
      server_(folder) {
  Config()[0] = static_cast<uint8_t>(tag.size());
  Config()[1] = static_cast<uint8_t>(tag.size() >> 8);
  std::copy(tag.begin(), tag.end(), Config().begin() + 2);
}

void Virtio9p::QueueNotified(unsigned index) {
  Virtqueue& queue = Queue(index);
  for (unsigned i = 0; i < Virtqueue::kLargest; ++i) {
    const auto chain = queue.Pop();
    if (!chain) break;
    const uint64_t request_bytes = chain->ReadableBytes(), room = chain->WritableBytes();
    if (request_bytes > kLargestMessage || room < ninep::Server::kSmallestRoom) return Fail();
    std::vector<uint8_t> request(static_cast<size_t>(request_bytes));
    queue.Read(*chain, 0, request);
    const std::vector<uint8_t> answer =
        server_.Handle(request, static_cast<size_t>(std::min<uint64_t>(room, kLargestMessage)));
    const size_t written = queue.Write(*chain, 0, answer);
    queue.Push(chain->head, static_cast<uint32_t>(written));
  }
  Finish(index);
}

}  // namespace ring3
