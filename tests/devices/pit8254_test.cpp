#include "devices/pit8254.h"

#include <catch2/catch.hpp>

#include "tests/devices/device_test_support.h"

namespace ring3 {
namespace {

struct PitFixture {
  ManualClock clock{5'000'000'123};
  TimerQueue timers;
  RecordingIrqs irqs;
  Pit8254 pit{clock, timers, IrqLine(irqs, 0)};
  PortBus bus;
  uint64_t start_ticks = 0;

  PitFixture() {
    bus.Attach(0x40, 4, pit, "pit");
    clock.Set(TicksToNanoseconds(NanosecondsToTicks(clock.NowNs(), Pit8254::kHertz), Pit8254::kHertz));
  }
  void Out(uint16_t port, uint8_t value) { bus.Write(port, 1, value); }
  uint8_t In(uint16_t port) { return static_cast<uint8_t>(bus.Read(port, 1)); }
  void Program(unsigned channel, unsigned mode, uint16_t count, bool bcd = false) {
    Out(0x43, static_cast<uint8_t>(channel << 6 | 0x30 | mode << 1 | (bcd ? 1 : 0)));
    WriteCount(channel, count);
  }
  void WriteCount(unsigned channel, uint16_t count) {
    Out(static_cast<uint16_t>(0x40 + channel), static_cast<uint8_t>(count));
    Out(static_cast<uint16_t>(0x40 + channel), static_cast<uint8_t>(count >> 8));
  }
  uint16_t ReadCount(unsigned channel) {
    const auto port = static_cast<uint16_t>(0x40 + channel);
    const uint8_t low = In(port);
    return static_cast<uint16_t>(In(port) << 8 | low);
  }
  uint8_t Status(unsigned channel) {
    Out(0x43, static_cast<uint8_t>(0xE0 | 2u << channel));
    return In(static_cast<uint16_t>(0x40 + channel));
  }
  /// Moves to an exact tick of the PIT's oscillator, firing timers on time.
  void Ticks(uint64_t ticks) {
    const uint64_t target = NanosecondsToTicks(clock.NowNs(), Pit8254::kHertz) + ticks;
    AdvanceExactly(clock, timers, TicksToNanoseconds(target, Pit8254::kHertz) - clock.NowNs());
  }
  /// The host sleeps and only then looks at the timers.
  void SleepLate(uint64_t ns) {
    clock.Advance(ns);
    timers.RunExpired(clock.NowNs());
  }
};

}  // namespace

TEST_CASE("pit: mode 0 counts down once and raises OUT", "[pit]") {
  PitFixture f;
  f.Program(0, 0, 1000);
  CHECK(f.Status(0) == 0x70);  // OUT low, count not loaded yet, both bytes, mode 0
  f.Ticks(1);
  CHECK(f.Status(0) == 0x30);
  CHECK(f.ReadCount(0) == 1000);
  f.Ticks(400);
  CHECK(f.ReadCount(0) == 600);
  f.Ticks(599);
  CHECK_FALSE(f.irqs.levels[0]);
  f.Ticks(1);
  CHECK(f.irqs.levels[0]);
  CHECK(f.irqs.edges[0] == 1);
  CHECK(f.Status(0) == 0xB0);
  f.Ticks(1);
  CHECK(f.ReadCount(0) == 0xFFFF);  // it goes on counting
  f.Ticks(100000);
  CHECK(f.irqs.edges[0] == 1);
  f.WriteCount(0, 50);
  CHECK_FALSE(f.irqs.levels[0]);
  f.Ticks(51);
  CHECK(f.irqs.edges[0] == 2);
}

TEST_CASE("pit: mode 2 ticks for ever without drift", "[pit]") {
  PitFixture f;
  f.Program(0, 2, 11932);
  CHECK(f.irqs.levels[0]);  // OUT went high: an edge of its own
  f.irqs.edges[0] = 0;
  f.Ticks(1);
  f.Ticks(11931);
  CHECK(f.irqs.edges[0] == 0);
  f.Ticks(1);
  CHECK(f.irqs.edges[0] == 1);
  f.Ticks(11932ull * 1000);
  CHECK(f.irqs.edges[0] == 1001);
  CHECK(f.ReadCount(0) == 11932);
  f.Ticks(11931);
  CHECK(f.ReadCount(0) == 1);
  CHECK((f.Status(0) & 0x80) == 0);  // low for the last tick
}

TEST_CASE("pit: mode 2 takes a new count at the end of the period", "[pit]") {
  PitFixture f;
  f.Program(0, 2, 1000);
  f.Ticks(1 + 300);
  f.irqs.edges[0] = 0;
  f.WriteCount(0, 5000);
  CHECK((f.Status(0) & 0x40) != 0);
  CHECK(f.ReadCount(0) == 700);
  f.Ticks(700);
  CHECK(f.irqs.edges[0] == 1);
  CHECK(f.ReadCount(0) == 5000);
  CHECK((f.Status(0) & 0x40) == 0);
  f.Ticks(4999);
  CHECK(f.irqs.edges[0] == 1);
  f.Ticks(1);
  CHECK(f.irqs.edges[0] == 2);
}

TEST_CASE("pit: mode 3 is a square wave that counts by two, high one tick longer if the count is odd", "[pit]") {
  struct Wave {
    std::vector<unsigned> counts;
    std::vector<bool> levels;
  };
  const auto wave = [](uint16_t count) {
    PitFixture f;
    f.Program(2, 3, count);
    f.pit.SetGate2(true);
    f.Ticks(1);
    Wave seen;
    for (unsigned i = 0; i < count; ++i) {
      seen.counts.push_back(f.ReadCount(2));
      seen.levels.push_back(f.pit.Output2());
      f.Ticks(1);
    }
    return seen;
  };
  CHECK(wave(10).counts == std::vector<unsigned>{10, 8, 6, 4, 2, 10, 8, 6, 4, 2});
  CHECK(wave(10).levels == std::vector<bool>{true, true, true, true, true, false, false, false, false, false});
  CHECK(wave(7).counts == std::vector<unsigned>{6, 4, 2, 0, 6, 4, 2});
  CHECK(wave(7).levels == std::vector<bool>{true, true, true, true, false, false, false});
}

TEST_CASE("pit: mode 3 takes a new count at the end of the half period", "[pit]") {
  PitFixture f;
  f.Program(0, 3, 1000);
  f.Ticks(1 + 100);
  f.irqs.edges[0] = 0;
  f.WriteCount(0, 2000);
  f.Ticks(400);                      // end of the high half
  CHECK((f.Status(0) & 0x80) == 0);  // low half, of the new count
  f.Ticks(999);
  CHECK(f.irqs.edges[0] == 0);
  f.Ticks(1);
  CHECK(f.irqs.edges[0] == 1);
  f.Ticks(2000);
  CHECK(f.irqs.edges[0] == 2);
}

TEST_CASE("pit: count 0 means 65536, or 10000 in BCD", "[pit]") {
  PitFixture f;
  f.Program(0, 2, 0);
  f.irqs.edges[0] = 0;
  f.Ticks(65536);
  CHECK(f.irqs.edges[0] == 0);
  f.Ticks(1);
  CHECK(f.irqs.edges[0] == 1);
  f.Program(0, 2, 0, true);
  f.irqs.edges[0] = 0;
  f.Ticks(10000);
  CHECK(f.ReadCount(0) == 0x0001);
  f.Ticks(1);
  CHECK(f.irqs.edges[0] == 1);
  f.Ticks(1);
  CHECK(f.ReadCount(0) == 0x9999);
}

TEST_CASE("pit: modes 1 and 5 start at a rising gate", "[pit]") {
  PitFixture f;
  f.Program(2, 1, 100);
  CHECK(f.pit.Output2());
  f.Ticks(500);
  CHECK(f.pit.Output2());
  f.pit.SetGate2(true);
  f.Ticks(1);
  CHECK_FALSE(f.pit.Output2());
  f.Ticks(99);
  CHECK_FALSE(f.pit.Output2());
  f.pit.SetGate2(false);
  f.pit.SetGate2(true);  // retrigger
  f.Ticks(100);
  CHECK_FALSE(f.pit.Output2());
  f.Ticks(1);
  CHECK(f.pit.Output2());

  f.pit.SetGate2(false);
  f.Program(2, 5, 10);
  f.pit.SetGate2(true);
  f.Ticks(10);
  CHECK(f.pit.Output2());
  f.Ticks(1);
  CHECK_FALSE(f.pit.Output2());
  f.Ticks(1);
  CHECK(f.pit.Output2());
}

TEST_CASE("pit: mode 4 strobes low for one tick, so its edge comes one later", "[pit]") {
  PitFixture f;
  f.Program(0, 4, 20);
  f.irqs.edges[0] = 0;
  f.Ticks(1 + 20);
  CHECK((f.Status(0) & 0x80) == 0);
  CHECK(f.irqs.edges[0] == 0);
  f.Ticks(1);
  CHECK((f.Status(0) & 0x80) != 0);
  f.timers.RunExpired(f.clock.NowNs());
  f.Ticks(100000);
  CHECK(f.timers.NextDeadline() == std::nullopt);
}

TEST_CASE("pit: mode 4 interrupts once per count", "[pit]") {
  PitFixture f;
  f.Out(0x43, 0x38);
  f.irqs.edges[0] = 0;
  for (unsigned i = 1; i <= 5; ++i) {
    f.WriteCount(0, 1000);
    f.Ticks(1001);
    CHECK(f.irqs.edges[0] == i - 1);
    f.Ticks(1);
    CHECK(f.irqs.edges[0] == i);
  }
}

TEST_CASE("pit: the gate stops counter 2 and modes 2, 3 restart", "[pit]") {
  PitFixture f;
  f.Program(2, 0, 1000);
  f.Ticks(500);
  CHECK(f.ReadCount(2) == 1000);
  f.pit.SetGate2(true);
  f.Ticks(300);
  f.pit.SetGate2(false);
  f.Ticks(5000);
  CHECK(f.ReadCount(2) == 700);
  f.pit.SetGate2(true);
  f.Ticks(699);
  CHECK_FALSE(f.pit.Output2());
  f.Ticks(1);
  CHECK(f.pit.Output2());

  f.Program(2, 2, 100);
  f.Ticks(51);
  f.pit.SetGate2(false);
  f.Ticks(49);
  CHECK(f.pit.Output2());
  f.pit.SetGate2(true);
  f.Ticks(1);
  CHECK(f.ReadCount(2) == 100);
}

TEST_CASE("pit: latches hold until read, status before count", "[pit]") {
  PitFixture f;
  f.Program(0, 2, 10000);
  f.Ticks(1 + 1000);
  f.Out(0x43, 0x00);  // counter latch
  f.Ticks(500);
  f.Out(0x43, 0x00);  // ignored: already latched
  CHECK(f.ReadCount(0) == 9000);
  CHECK(f.ReadCount(0) == 8500);
  f.Out(0x43, 0xC2);  // read back count and status of counter 0
  f.Ticks(100);
  CHECK(f.In(0x40) == 0xB4);
  CHECK(f.ReadCount(0) == 8500);
  CHECK(f.ReadCount(0) == 8400);
  CHECK(f.In(0x43) == 0xFF);
}

TEST_CASE("pit: read-back latches several counters at once", "[pit]") {
  PitFixture f;
  f.Program(0, 2, 1000);
  f.Program(1, 2, 2000);
  f.Ticks(101);
  f.Out(0x43, 0xD6);  // count only, counters 0 and 1
  f.Ticks(50);
  CHECK(f.ReadCount(0) == 900);
  CHECK(f.ReadCount(1) == 1900);
}

TEST_CASE("pit: single-byte access modes", "[pit]") {
  PitFixture f;
  f.Out(0x43, 0x14);  // counter 0, low byte, mode 2
  f.Out(0x40, 200);
  f.Ticks(1 + 50);
  CHECK(f.In(0x40) == 150);
  CHECK(f.In(0x40) == 150);
  f.Out(0x43, 0x24);  // high byte
  f.Out(0x40, 0x20);
  f.Ticks(1);
  CHECK(f.In(0x40) == 0x20);
  f.Ticks(1);
  CHECK(f.In(0x40) == 0x1F);
}

TEST_CASE("pit: ticks lost to a late host are made up for", "[pit]") {
  PitFixture f;
  f.Program(0, 2, 11932);  // 100 Hz
  f.irqs.edges[0] = 0;
  f.SleepLate(100'050'000);
  CHECK(f.irqs.edges[0] == 1);
  CHECK(f.pit.Backlog() == 9);
  // Nine owed ticks at four times the rate, while the regular ones go on.
  f.Ticks(11932 * 4);
  CHECK(f.pit.Backlog() == 0);
  CHECK(f.irqs.edges[0] == 14);
  f.Ticks(11932 * 10);
  CHECK(f.irqs.edges[0] == 24);
}

TEST_CASE("pit: ticks the guest had no time to take are made up for", "[pit]") {
  PitFixture f;
  f.Program(0, 2, 1193);
  f.irqs.edges[0] = 0;
  f.Ticks(1194);
  f.irqs.state = IrqState::kPending;
  f.Ticks(1193 * 5);
  CHECK(f.irqs.edges[0] == 1);
  CHECK(f.pit.Backlog() == 5);
  f.irqs.state = IrqState::kIdle;
  f.Ticks(1193 * 10);
  CHECK(f.pit.Backlog() == 0);
  CHECK(f.irqs.edges[0] == 16);
}

TEST_CASE("pit: at most a second's worth of ticks is owed", "[pit]") {
  PitFixture f;
  f.Program(0, 2, 11932);
  f.irqs.edges[0] = 0;
  f.SleepLate(3600ull * kNanosecondsPerSecond);
  CHECK(f.irqs.edges[0] == 1);
  CHECK(f.pit.Backlog() == 98);
}

TEST_CASE("pit: nothing is owed while the guest masks the line", "[pit]") {
  PitFixture f;
  f.Program(0, 2, 11932);
  f.irqs.state = IrqState::kMasked;
  f.SleepLate(kNanosecondsPerSecond);
  CHECK(f.pit.Backlog() == 0);
  CHECK(f.irqs.levels[0]);
}

TEST_CASE("pit: reprogramming forgives what is owed", "[pit]") {
  PitFixture f;
  f.Program(0, 2, 11932);
  f.SleepLate(kNanosecondsPerSecond / 2);
  f.Program(0, 0, 0);
  CHECK(f.pit.Backlog() == 0);
  CHECK_FALSE(f.irqs.levels[0]);
}

}  // namespace ring3
