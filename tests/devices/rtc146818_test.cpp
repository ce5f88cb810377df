#include "devices/rtc146818.h"

#include <array>
#include <catch2/catch.hpp>

#include "tests/devices/device_test_support.h"

namespace ring3 {
namespace {

constexpr uint64_t kMillisecond = 1'000'000;
// 2024-02-29 (a Thursday) 13:59:58.250 UTC
constexpr uint64_t kStart = 1709215198ull * kNanosecondsPerSecond + 250 * kMillisecond;

struct RtcFixture {
  ManualClock clock{77'000'000};
  TimerQueue timers;
  RecordingIrqs irqs;
  Rtc146818 rtc{clock, timers, IrqLine(irqs, 8), kStart};
  PortBus bus;

  RtcFixture() { bus.Attach(0x70, 2, rtc, "rtc"); }
  uint8_t Read(uint8_t index) {
    bus.Write(0x70, 1, index);
    return static_cast<uint8_t>(bus.Read(0x71, 1));
  }
  void Write(uint8_t index, uint8_t value) {
    bus.Write(0x70, 1, index);
    bus.Write(0x71, 1, value);
  }
  void Milliseconds(uint64_t ms) { AdvanceExactly(clock, timers, ms * kMillisecond); }
  /// Second, minute, hour, day of week, day, month, year, century as stored.
  using Fields = std::array<unsigned, 8>;
  Fields Time() { return {Read(0), Read(2), Read(4), Read(6), Read(7), Read(8), Read(9), Read(0x32)}; }
};

}  // namespace

TEST_CASE("rtc: tells the time in BCD and binary, 24 and 12 hours", "[rtc]") {
  RtcFixture f;
  CHECK(f.Time() == RtcFixture::Fields{0x58, 0x59, 0x13, 0x05, 0x29, 0x02, 0x24, 0x20});
  f.Write(0x0B, 0x06);
  CHECK(f.Time() == RtcFixture::Fields{58, 59, 13, 5, 29, 2, 24, 20});
  f.Write(0x0B, 0x04);
  CHECK(f.Read(4) == (0x80 | 1));
  f.Write(0x0B, 0x00);
  CHECK(f.Read(4) == 0x81);
  f.Write(0x0B, 0x02);
  f.Milliseconds(1750);
  CHECK(f.Time() == RtcFixture::Fields{0x00, 0x00, 0x14, 0x05, 0x29, 0x02, 0x24, 0x20});
}

TEST_CASE("rtc: rolls over days, months and leap years", "[rtc]") {
  RtcFixture f;
  f.Milliseconds(10ull * 3600 * 1000 + 2000);
  CHECK(f.Time() == RtcFixture::Fields{0x00, 0x00, 0x00, 0x06, 0x01, 0x03, 0x24, 0x20});
}

TEST_CASE("rtc: midnight and noon in 12-hour mode", "[rtc]") {
  RtcFixture f;
  f.Write(0x0B, 0x00);
  f.Write(0x0B, 0x80);
  f.Write(4, 0x12);  // 12 AM
  f.Write(0x0B, 0x00);
  f.Write(0x0B, 0x02);
  CHECK(f.Read(4) == 0x00);
  f.Write(4, 0x12);
  f.Write(0x0B, 0x00);
  CHECK(f.Read(4) == 0x92);
}

TEST_CASE("rtc: the guest sets the time under SET", "[rtc]") {
  RtcFixture f;
  f.Write(0x0B, 0x82);
  const uint8_t frozen = f.Read(0);
  f.Milliseconds(5000);
  CHECK(f.Read(0) == frozen);
  const uint8_t values[][2] = {{0, 0x59}, {2, 0x59}, {4, 0x23}, {7, 0x31}, {8, 0x12}, {9, 0x99}, {0x32, 0x19}};
  for (const auto& [index, value] : values) f.Write(index, value);
  f.Write(0x0B, 0x02);
  CHECK(f.Read(0) == 0x59);
  f.Milliseconds(750);  // the divider kept its phase
  CHECK(f.Time() == RtcFixture::Fields{0x00, 0x00, 0x00, 0x07, 0x01, 0x01, 0x00, 0x20});
}

TEST_CASE("rtc: a divider reset puts the next update half a second away", "[rtc]") {
  RtcFixture f;
  f.Write(0x0B, 0x82);
  f.Write(0x0A, 0x76);
  f.Write(0, 0x10);
  f.Write(0x0B, 0x02);
  f.Milliseconds(3000);
  CHECK(f.Read(0) == 0x10);
  f.Write(0x0A, 0x26);
  f.Milliseconds(499);
  CHECK(f.Read(0) == 0x10);
  f.Milliseconds(1);
  CHECK(f.Read(0) == 0x11);
}

TEST_CASE("rtc: update in progress shows before the second turns", "[rtc]") {
  RtcFixture f;
  CHECK(f.Read(0x0A) == 0x26);
  f.Milliseconds(747);
  CHECK(f.Read(0x0A) == 0x26);
  f.Milliseconds(2);
  CHECK(f.Read(0x0A) == 0xA6);
  CHECK(f.Read(0) == 0x58);
  f.Milliseconds(1);
  CHECK(f.Read(0x0A) == 0x26);
  CHECK(f.Read(0) == 0x59);
}

TEST_CASE("rtc: flags rise without their enables, reading C clears them", "[rtc]") {
  RtcFixture f;
  f.Read(0x0C);
  f.Milliseconds(1000);
  CHECK(f.Read(0x0C) == 0x50);  // UF and PF, no IRQF
  CHECK(f.Read(0x0C) == 0x00);
  CHECK(f.irqs.edges[8] == 0);
  CHECK(f.timers.NextDeadline() == std::nullopt);
}

TEST_CASE("rtc: periodic interrupt at its rate", "[rtc]") {
  RtcFixture f;
  f.Write(0x0A, 0x26);  // 1024 Hz
  f.Write(0x0B, 0x42);
  f.Read(0x0C);
  unsigned interrupts = 0;
  for (int i = 0; i < 2000; ++i) {
    f.clock.Advance(500'000);
    f.timers.RunExpired(f.clock.NowNs());
    if (!f.irqs.levels[8]) continue;
    ++interrupts;
    REQUIRE((f.Read(0x0C) & 0xC0) == 0xC0);
    REQUIRE_FALSE(f.irqs.levels[8]);
  }
  CHECK(interrupts == 1024);
  f.Write(0x0A, 0x2F);  // 2 Hz
  f.Read(0x0C);
  f.irqs.edges[8] = 0;
  f.Milliseconds(500);
  CHECK(f.irqs.edges[8] == 1);
  f.Milliseconds(5000);  // unread: the line stays up
  CHECK(f.irqs.edges[8] == 1);
}

TEST_CASE("rtc: update-ended interrupt once a second", "[rtc]") {
  RtcFixture f;
  f.Read(0x0C);
  f.Write(0x0B, 0x12);
  f.Milliseconds(749);
  CHECK_FALSE(f.irqs.levels[8]);
  f.Milliseconds(1);
  CHECK(f.irqs.levels[8]);
  CHECK((f.Read(0x0C) & 0x90) == 0x90);
  f.Milliseconds(1000);
  CHECK(f.irqs.levels[8]);
  f.Write(0x0B, 0x92);  // SET clears UIE
  CHECK(f.Read(0x0B) == 0x82);
  CHECK_FALSE(f.irqs.levels[8]);
}

TEST_CASE("rtc: alarm at a time, and with don't-care fields", "[rtc]") {
  RtcFixture f;
  f.Write(1, 0x01);
  f.Write(3, 0x00);
  f.Write(5, 0x14);
  f.Write(0x0B, 0x22);
  f.Read(0x0C);
  f.Milliseconds(2749);  // 14:00:00.999
  CHECK_FALSE(f.irqs.levels[8]);
  f.Milliseconds(1);
  CHECK(f.irqs.levels[8]);
  CHECK((f.Read(0x0C) & 0xA0) == 0xA0);
  f.Milliseconds(3600'000);
  CHECK_FALSE(f.irqs.levels[8]);
  f.Write(3, 0xFF);
  f.Write(5, 0xC0);
  f.irqs.edges[8] = 0;
  for (int minute = 0; minute < 3; ++minute) {
    f.Milliseconds(60'000);
    f.Read(0x0C);
  }
  CHECK(f.irqs.edges[8] == 3);
}

TEST_CASE("rtc: memory sizes in CMOS with checksum", "[rtc]") {
  RtcFixture f;
  const auto word = [&f](uint8_t index) { return f.Read(index) | f.Read(static_cast<uint8_t>(index + 1)) << 8; };
  f.rtc.SetMemorySize(48 << 20);
  CHECK(word(0x15) == 640);
  CHECK(word(0x17) == 47 * 1024);
  CHECK(word(0x30) == 47 * 1024);
  CHECK(word(0x34) == 32 * 16);
  unsigned sum = 0;
  for (uint8_t i = 0x10; i <= 0x2D; ++i) sum += f.Read(i);
  CHECK((f.Read(0x2E) << 8 | f.Read(0x2F)) == static_cast<int>(sum));
  f.rtc.SetMemorySize(1ull << 30);
  CHECK(word(0x30) == 0xFFFF);
  CHECK(word(0x34) == (1008 << 4));
}

TEST_CASE("rtc: index register, NMI mask and RAM", "[rtc]") {
  RtcFixture f;
  f.Write(0x40, 0x5A);
  f.Write(0xC0, 0xA5);  // the same index with NMI masked
  CHECK(f.rtc.NmiMasked());
  CHECK(f.Read(0x40) == 0xA5);
  CHECK_FALSE(f.rtc.NmiMasked());
  CHECK(f.Read(0x0D) == 0x80);
  f.Write(0x0B, 0x72);
  f.rtc.Reset();
  CHECK(f.Read(0x0B) == 0x02);
  CHECK(f.Read(0x40) == 0xA5);
}

}  // namespace ring3
