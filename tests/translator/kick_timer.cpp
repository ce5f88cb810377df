#include "tests/translator/kick_timer.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "monitor/host_signals.h"

namespace ring3 {
namespace {

/// Of the monitor under the sanitizers: kicks that come faster than it answers them would let the guest stand still.
[[maybe_unused]] constexpr uint64_t kSlowdown = 5;

}  // namespace

KickTimer::KickTimer(uint64_t interval_ns) {
#ifdef RING3_SANITIZED
  interval_ns *= kSlowdown;
#endif
  constexpr uint64_t kNanosecondsPerSecond = 1'000'000'000;
  sigevent event = {};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = kKickSignal;
  event._sigev_un._tid = static_cast<pid_t>(syscall(SYS_gettid));
  if (timer_create(CLOCK_MONOTONIC, &event, &timer_) != 0) {
    throw std::system_error(errno, std::generic_category(), "timer_create");
  }
  const timespec interval{static_cast<time_t>(interval_ns / kNanosecondsPerSecond),
                          static_cast<long>(interval_ns % kNanosecondsPerSecond)};
  const itimerspec both{interval, interval};
  timer_settime(timer_, 0, &both, nullptr);
}

KickTimer::~KickTimer() { timer_delete(timer_); }

}  // namespace ring3
