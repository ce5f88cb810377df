#include "devices/clock.h"

#include <catch2/catch.hpp>

namespace ring3 {

TEST_CASE("clock: tick conversion is exact and has no drift", "[clock]") {
  constexpr uint64_t kHertz = 1193182;
  for (const uint64_t seconds : {0ull, 1ull, 86400ull, 31536000ull * 50}) {
    CHECK(NanosecondsToTicks(seconds * kNanosecondsPerSecond, kHertz) == seconds * kHertz);
  }
  for (uint64_t ticks = 0; ticks < 3 * kHertz; ticks += 7919) {
    const uint64_t ns = TicksToNanoseconds(ticks, kHertz);
    REQUIRE(NanosecondsToTicks(ns, kHertz) == ticks);
    if (ns != 0) REQUIRE(NanosecondsToTicks(ns - 1, kHertz) == ticks - 1);
  }
}

TEST_CASE("clock: the host clock does not go backwards", "[clock]") {
  HostClock clock;
  const uint64_t first = clock.NowNs();
  CHECK(clock.NowNs() >= first);
}

TEST_CASE("timers: fire in order of deadline, once", "[clock]") {
  TimerQueue queue;
  std::vector<int> fired;
  Timer a(queue, [&](uint64_t) { fired.push_back(1); });
  Timer b(queue, [&](uint64_t) { fired.push_back(2); });
  CHECK(queue.NextDeadline() == std::nullopt);
  a.Schedule(200);
  b.Schedule(100);
  CHECK(queue.NextDeadline() == 100u);
  queue.RunExpired(99);
  CHECK(fired.empty());
  queue.RunExpired(250);
  CHECK(fired == std::vector<int>{2, 1});
  CHECK(queue.NextDeadline() == std::nullopt);
  queue.RunExpired(1000);
  CHECK(fired.size() == 2);
}

TEST_CASE("timers: can be cancelled, moved, and re-armed from their callback", "[clock]") {
  TimerQueue queue;
  std::vector<uint64_t> fired;
  Timer periodic(queue, [&](uint64_t now) {
    fired.push_back(now);
    periodic.Schedule(now + 10);
  });
  Timer other(queue, [&](uint64_t) { periodic.Cancel(); });
  periodic.Schedule(10);
  queue.RunExpired(10);
  queue.RunExpired(20);
  CHECK(fired == std::vector<uint64_t>{10, 20});
  periodic.Schedule(100);
  CHECK(queue.NextDeadline() == 100u);
  other.Schedule(50);
  queue.RunExpired(200);
  CHECK(fired.size() == 2);
  CHECK_FALSE(periodic.Armed());
  {
    Timer temporary(queue, [](uint64_t) {});
    temporary.Schedule(5);
    CHECK(queue.NextDeadline() == 5u);
  }
  CHECK(queue.NextDeadline() == std::nullopt);
}

}  // namespace ring3
