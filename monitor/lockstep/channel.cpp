#include "monitor/lockstep/channel.h"

#include <sys/mman.h>

#include <cerrno>
#include <ctime>
#include <new>

#include "monitor/cpu/fault.h"
#include "shadowmmu/address.h"

namespace ring3::lockstep {
namespace {

constexpr uint64_t kSegmentBytes = Channel::kEventsInSegment * sizeof(Event);
constexpr uint64_t kStride = kSegmentBytes + kPageSize;
static_assert(kSegmentBytes % kPageSize == 0, "records end exactly where the unwritable page begins");
constexpr long kLookAgainSeconds = 1;

constexpr uint64_t RoundToPages(uint64_t bytes) { return (bytes + kPageMask) & ~uint64_t{kPageMask}; }

/// False when `alive` said that nobody will post.
bool Wait(sem_t& semaphore, bool (*alive)(void*), void* context) {
  for (;;) {
    timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += kLookAgainSeconds;
    if (sem_timedwait(&semaphore, &until) == 0) return true;
    if (errno == ETIMEDOUT && !alive(context)) return false;
  }
}

}  // namespace

Channel::Channel() {
  const uint64_t header = RoundToPages(sizeof(Shared));
  memory_ = mmap(nullptr, header + kSegments * kStride, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory_ == MAP_FAILED) throw UsageError("the host gives no memory for the lockstep channel");
  shared_ = new (memory_) Shared;
  events_ = reinterpret_cast<uint64_t>(memory_) + header;
  for (unsigned i = 0; i < kSegments; ++i) {
    mprotect(reinterpret_cast<void*>(SegmentAddress(i) + kSegmentBytes), kPageSize, PROT_NONE);
  }
  sem_init(&shared_->full, 1, 0);
  sem_init(&shared_->empty, 1, kSegments - 1);  // one belongs to the recorder from the start
  sem_init(&shared_->answered, 1, 0);
}

Channel::~Channel() { munmap(memory_, RoundToPages(sizeof(Shared)) + kSegments * kStride); }

uint64_t Channel::SegmentAddress(unsigned segment) const { return events_ + segment * kStride; }

bool Channel::IsEnd(uint64_t address) const { return address - (Begin() + kSegmentBytes) < kPageSize; }

void Channel::Publish(uint64_t next, bool (*alive)(void*), void* context) {
  shared_->filled[producing_] = static_cast<uint32_t>((next - Begin()) / sizeof(Event));
  sem_post(&shared_->full);
  if (!Wait(shared_->empty, alive, context)) return;  // nobody reads any more: the segment is as good as another
  producing_ = (producing_ + 1) % kSegments;
}

void Channel::AwaitAnswer(bool (*alive)(void*), void* context) { Wait(shared_->answered, alive, context); }

const Event& Channel::Peek() {
  while (!have_segment_ || consumed_ == shared_->filled[consuming_]) {
    if (have_segment_) {
      sem_post(&shared_->empty);
      consuming_ = (consuming_ + 1) % kSegments;
    }
    while (sem_wait(&shared_->full) != 0) {
    }
    have_segment_ = true;
    consumed_ = 0;
  }
  return reinterpret_cast<const Event*>(SegmentAddress(consuming_))[consumed_];
}

void Channel::Answer() { sem_post(&shared_->answered); }

}  // namespace ring3::lockstep
