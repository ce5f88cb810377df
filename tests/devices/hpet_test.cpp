#include "devices/hpet.h"

#include <catch2/catch.hpp>
#include <vector>

#include "tests/devices/device_test_support.h"

namespace ring3 {
namespace {

constexpr uint64_t kSecond = 1'000'000'000, kMicrosecond = 1000;

/// Counts rising edges.
struct Lines final : IrqSink {
  void SetIrq(unsigned irq, bool level) override {
    if (level && !high[irq]) ++edges[irq];
    high[irq] = level;
  }
  IrqState GetIrqState(unsigned) const override { return IrqState::kIdle; }
  unsigned edges[24] = {};
  bool high[24] = {};
};

struct Fixture {
  ManualClock clock{12'340};
  TimerQueue timers;
  Lines isa, io_apic;
  bool replaced = false;
  Hpet hpet{clock, timers, {&isa, &io_apic, [this](bool on) { replaced = on; }}};

  uint64_t Read(uint32_t offset, unsigned size = 8) {
    return hpet.ReadMmio(GuestPhysical(Hpet::kAddress + offset), size);
  }
  void Write(uint32_t offset, uint64_t value, unsigned size = 8) {
    hpet.WriteMmio(GuestPhysical(Hpet::kAddress + offset), size, value);
  }
  void Advance(uint64_t ns) { AdvanceExactly(clock, timers, ns); }
};

constexpr uint32_t kConfiguration = 0x10, kStatus = 0x20, kCounter = 0xF0, kTimer0 = 0x100, kTimer1 = 0x120,
                   kTimer2 = 0x140, kComparator = 8;

}  // namespace

TEST_CASE("hpet: says what it is", "[hpet]") {
  Fixture f;
  CHECK((f.Read(0) & 0xFFFF'FFFF) == Hpet::kIdentity);
  CHECK(f.Read(4, 4) == 10'000'000);  // femtoseconds
  CHECK((f.Read(kTimer0) & 0x30) == 0x30);
  CHECK(f.Read(kTimer0 + 4, 4) == 0x00F0'0000);
  CHECK(f.Read(0x300) == 0);
}

TEST_CASE("hpet: the counter stands until it is enabled, and may be set while it stands", "[hpet]") {
  Fixture f;
  f.Advance(kSecond);
  CHECK(f.Read(kCounter) == 0);
  f.Write(kCounter, 0xFFFF'FFF0, 4);
  f.Write(kCounter + 4, 5, 4);
  f.Write(kConfiguration, 1);
  f.Advance(200);
  CHECK(f.Read(kCounter) == 0x6'0000'0004);
  CHECK(f.Read(kCounter + 4, 4) == 6);
  f.Write(kCounter, 7);  // not while it counts
  CHECK(f.Read(kCounter) == 0x6'0000'0004);
  f.Write(kConfiguration, 0);
  f.Advance(kSecond);
  CHECK(f.Read(kCounter) == 0x6'0000'0004);
}

TEST_CASE("hpet: a one-shot timer fires once, at its input of the I/O APIC", "[hpet]") {
  Fixture f;
  f.Write(kTimer2, 0x4 | 21 << 9, 4);
  f.Write(kTimer2 + kComparator, 1000);
  f.Write(kConfiguration, 1);
  f.Advance(9'999);
  CHECK(f.io_apic.edges[21] == 0);
  f.Advance(1);
  CHECK(f.io_apic.edges[21] == 1);
  CHECK_FALSE(f.io_apic.high[21]);
  f.Advance(kSecond);
  CHECK(f.io_apic.edges[21] == 1);
  f.Write(kTimer2 + kComparator, f.Read(kCounter) - 1);  // passed: a whole turn away
  f.Advance(100 * kSecond);
  CHECK(f.io_apic.edges[21] == 1);
}

TEST_CASE("hpet: 32 bits wrap", "[hpet]") {
  Fixture f;
  f.Write(kTimer0, 0x4 | 0x100 | 20 << 9, 4);
  f.Write(kTimer0 + kComparator, 100, 4);
  f.Write(kCounter, 0xFFFF'FFFF);
  f.Write(kConfiguration, 1);
  f.Advance(1010);
  CHECK(f.io_apic.edges[20] == 1);
}

TEST_CASE("hpet: a periodic timer goes on from the value that was set", "[hpet]") {
  Fixture f;
  f.Write(kTimer0, 0x4 | 0x8 | 0x40 | 20 << 9, 4);
  f.Write(kTimer0 + kComparator, 50'000);  // the first time after 500 us
  f.Write(kTimer0 + kComparator, 10'000);  // then each 100 us
  f.Write(kConfiguration, 1);
  f.Advance(499 * kMicrosecond);
  CHECK(f.io_apic.edges[20] == 0);
  f.Advance(2 * kMicrosecond);
  CHECK(f.io_apic.edges[20] == 1);
  f.Advance(1000 * kMicrosecond);
  CHECK(f.io_apic.edges[20] == 11);
  f.clock.Advance(kSecond);  // a late host: what passed is not made up for
  f.timers.RunExpired(f.clock.NowNs());
  CHECK(f.io_apic.edges[20] == 12);
  f.Advance(100 * kMicrosecond);
  CHECK(f.io_apic.edges[20] == 13);
}

TEST_CASE("hpet: a period of nothing does not stop the host", "[hpet]") {
  Fixture f;
  for (const uint64_t period : {0, 1}) {
    f.Write(kTimer0, 0x4 | 0x8 | 0x40 | 20 << 9, 4);
    f.Write(kTimer0 + kComparator, f.Read(kCounter) + 100);
    f.Write(kTimer0 + kComparator, period);
    f.Write(kConfiguration, 1);
    f.Advance(1000 * kMicrosecond);
    CHECK(f.io_apic.edges[20] < 120);
  }
}

TEST_CASE("hpet: a level-triggered timer holds its line until the status is cleared", "[hpet]") {
  Fixture f;
  f.Write(kTimer1, 0x4 | 0x2 | 22 << 9, 4);
  f.Write(kTimer1 + kComparator, 10);
  f.Write(kConfiguration, 1);
  f.Advance(kMicrosecond);
  CHECK(f.io_apic.high[22]);
  CHECK(f.Read(kStatus) == 2);
  f.Write(kStatus, 1);
  CHECK(f.io_apic.high[22]);
  f.Write(kStatus, 2);
  CHECK_FALSE(f.io_apic.high[22]);
  CHECK(f.Read(kStatus) == 0);
}

TEST_CASE("hpet: legacy replacement gives timers 0 and 1 the lines of the 8254 and the clock", "[hpet]") {
  Fixture f;
  f.Write(kTimer0, 0x4, 4);
  f.Write(kTimer0 + kComparator, 10);
  f.Write(kTimer1, 0x4, 4);
  f.Write(kTimer1 + kComparator, 20);
  f.Write(kConfiguration, 3);
  CHECK(f.replaced);
  f.Advance(kMicrosecond);
  CHECK(f.isa.edges[0] == 1);
  CHECK(f.isa.edges[8] == 1);
  f.hpet.Reset();
  CHECK_FALSE(f.replaced);
}

TEST_CASE("hpet: ticks are lost when interrupts are off as they come", "[hpet]") {
  Fixture f;  // the 8259A's request must outlive the moment of the edge
  f.Write(kTimer0, 0x4 | 0x8 | 0x40, 4);
  f.Write(kTimer0 + kComparator, 10'000);
  f.Write(kTimer0 + kComparator, 10'000);
  f.Write(kConfiguration, 3);
  for (unsigned tick = 1; tick <= 3; ++tick) {
    f.Advance(100 * kMicrosecond);
    CHECK(f.isa.edges[0] == tick);
    CHECK(f.isa.high[0]);
  }
  f.Write(kConfiguration, 0);
  CHECK_FALSE(f.isa.high[0]);
}

TEST_CASE("hpet: a replaced line is silent, and comes back as it is", "[hpet]") {
  Lines lines;
  ReplaceableLine line(lines);
  line.SetIrq(8, true);
  CHECK(lines.high[8]);
  line.SetReplaced(true);
  CHECK_FALSE(lines.high[8]);
  line.SetIrq(8, false);
  line.SetIrq(8, true);
  CHECK_FALSE(lines.high[8]);
  line.SetReplaced(false);
  CHECK(lines.high[8]);
}

TEST_CASE("hpet: odd accesses do nothing", "[hpet]") {
  Fixture f;
  f.Write(kConfiguration, 1, 1);
  f.Write(kConfiguration + 2, 1, 4);
  f.Write(kConfiguration + 4, 1, 8);
  CHECK(f.Read(kConfiguration) == 0);
  CHECK(f.Read(1, 1) == 0xA2);
  f.Write(kTimer0, 0x4 | 5 << 9, 4);  // an input that it may not choose
  CHECK((f.Read(kTimer0) >> 9 & 31) == 0);
}

}  // namespace ring3
