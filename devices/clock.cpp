#include "devices/clock.h"

#include <time.h>

#include <algorithm>
#include <utility>

namespace ring3 {

uint64_t HostClock::NowNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * kNanosecondsPerSecond + static_cast<uint64_t>(now.tv_nsec);
}

void TimerQueue::UpdateNext() {
  next_ = kNever;
  for (const Timer* timer : timers_) next_ = std::min(next_, timer->deadline_);
}

void TimerQueue::RunExpired(uint64_t now) {
  while (next_ <= now && next_ != kNever) {
    const auto due = std::find_if(timers_.begin(), timers_.end(), [&](Timer* t) { return t->deadline_ == next_; });
    Timer* timer = *due;
    timer->Cancel();
    timer->callback_(now);
  }
}

Timer::Timer(TimerQueue& queue, Callback callback) : queue_(queue), callback_(std::move(callback)) {
  queue_.timers_.push_back(this);
}

Timer::~Timer() {
  std::erase(queue_.timers_, this);
  queue_.UpdateNext();
}

void Timer::Schedule(uint64_t deadline) {
  if (deadline == deadline_) return;
  deadline_ = deadline;
  queue_.UpdateNext();
}

}  // namespace ring3
