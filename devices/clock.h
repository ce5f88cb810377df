// Time as the devices see it: a nanosecond clock, and timers on it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace ring3 {

inline constexpr uint64_t kNanosecondsPerSecond = 1'000'000'000;

/// How many whole periods of a `hertz` oscillator that started at 0 have passed at `ns`. Exact: no error accumulates.
constexpr uint64_t NanosecondsToTicks(uint64_t ns, uint64_t hertz) {
  return ns / kNanosecondsPerSecond * hertz + ns % kNanosecondsPerSecond * hertz / kNanosecondsPerSecond;
}
/// The first nanosecond at which NanosecondsToTicks() yields `ticks`.
constexpr uint64_t TicksToNanoseconds(uint64_t ticks, uint64_t hertz) {
  return ticks / hertz * kNanosecondsPerSecond + (ticks % hertz * kNanosecondsPerSecond + hertz - 1) / hertz;
}

class Clock {
 public:
  virtual ~Clock() = default;
  /// Nanoseconds since an arbitrary start; never decreases.
  virtual uint64_t NowNs() = 0;
};

/// The host's CLOCK_MONOTONIC.
class HostClock final : public Clock {
 public:
  uint64_t NowNs() override;
};

/// Another clock, but for the time in which it was stopped.
class PausableClock final : public Clock {
 public:
  explicit PausableClock(Clock& source) : source_(source) {}
  uint64_t NowNs() override { return (stopped_at_ ? *stopped_at_ : source_.NowNs()) - hidden_; }

  bool Stopped() const { return stopped_at_.has_value(); }
  void Stop() {
    if (!stopped_at_) stopped_at_ = source_.NowNs();
  }
  /// Goes on with the time at which it was stopped.
  void Start() {
    if (stopped_at_) hidden_ += source_.NowNs() - *stopped_at_;
    stopped_at_.reset();
  }
  /// The source's time at which this clock, unless stopped, will say `ns`; and the other way round.
  uint64_t SourceTimeOf(uint64_t ns) const { return ns + hidden_; }
  uint64_t TimeAtSource(uint64_t source_ns) const { return source_ns - hidden_; }

 private:
  Clock& source_;
  std::optional<uint64_t> stopped_at_;  // of the source
  uint64_t hidden_ = 0;
};

/// Stands still until told otherwise, for tests and replays.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(uint64_t now = 0) : now_(now) {}
  uint64_t NowNs() override { return now_; }
  void Advance(uint64_t ns) { now_ += ns; }
  void Set(uint64_t ns) { now_ = ns; }

 private:
  uint64_t now_;
};

class Timer;

/// A handful of timers; the next deadline is one load.
class TimerQueue {
 public:
  TimerQueue() = default;
  TimerQueue(const TimerQueue&) = delete;
  TimerQueue& operator=(const TimerQueue&) = delete;

  /// The earliest armed deadline in Clock nanoseconds.
  std::optional<uint64_t> NextDeadline() const {
    return next_ == kNever ? std::nullopt : std::optional<uint64_t>(next_);
  }
  /// Fires every timer whose deadline is at most `now`, earliest first, including those that fired ones arm.
  void RunExpired(uint64_t now);

 private:
  friend class Timer;
  static constexpr uint64_t kNever = UINT64_MAX;
  void UpdateNext();

  std::vector<Timer*> timers_;
  uint64_t next_ = kNever;
};

/// One deadline on a queue, which must outlive it. The callback gets the `now` that RunExpired() was given and must not
/// arm the timer at or before it.
class Timer {
 public:
  using Callback = std::function<void(uint64_t now)>;

  Timer(TimerQueue& queue, Callback callback);
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  /// Arms, or re-arms, the timer for an absolute time.
  void Schedule(uint64_t deadline);
  void Cancel() { Schedule(TimerQueue::kNever); }
  bool Armed() const { return deadline_ != TimerQueue::kNever; }

 private:
  friend class TimerQueue;
  TimerQueue& queue_;
  Callback callback_;
  uint64_t deadline_ = TimerQueue::kNever;
};

}  // namespace ring3
