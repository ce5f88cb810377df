#include "devices/virtio/virtio_rng.h"

#include <sys/random.h>

#include <algorithm>
#include <array>

namespace ring3 {
namespace {

constexpr uint16_t kTransitionalId = 0x1005;
constexpr uint32_t kOtherClass = 0x00FF00;
constexpr uint16_t kQueueSize = 8;
constexpr size_t kMostAtOnce = 4096;  // the rest of a larger buffer stays unused

}  // namespace

VirtioRng::VirtioRng(PhysicalMemory& memory)
    : VirtioDevice(memory, {.type = virtio::kEntropy,
                            .transitional_id = kTransitionalId,
                            .class_code = kOtherClass,
                            .features = 0,
                            .queues = 1,
                            .queue_size = kQueueSize,
                            .config_bytes = 0}) {}

void VirtioRng::QueueNotified(unsigned index) {
  Virtqueue& queue = Queue(index);
  // A ring's worth at a time: a guest cannot keep the host at it.
  for (unsigned i = 0; i < Virtqueue::kLargest; ++i) {
    const auto chain = queue.Pop();
    if (!chain) break;
    std::array<uint8_t, kMostAtOnce> bytes;
    const auto wanted = static_cast<size_t>(std::min<uint64_t>(chain->WritableBytes(), bytes.size()));
    const ssize_t got = wanted == 0 ? 0 : getrandom(bytes.data(), wanted, 0);
    const auto given = static_cast<size_t>(std::max<ssize_t>(got, 0));
    queue.Write(*chain, 0, std::span(bytes).first(given));
    queue.Push(chain->head, static_cast<uint32_t>(given));
  }
  Finish(index);
}

}  // namespace ring3
