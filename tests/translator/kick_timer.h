// A host timer that kicks the calling thread's virtual processor at a steady rate, as the machine's timers do.
#pragma once

#include <csignal>
#include <cstdint>
#include <ctime>

namespace ring3 {

class KickTimer {
 public:
  /// Starts at once; sends kKickSignal to the thread that constructs it, less often under the sanitizers. Throws
  /// std::system_error.
  explicit KickTimer(uint64_t interval_ns);
  ~KickTimer();
  KickTimer(const KickTimer&) = delete;

 private:
  timer_t timer_;
};

}  // namespace ring3
