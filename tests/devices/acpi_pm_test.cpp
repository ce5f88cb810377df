#include "devices/acpi_pm.h"

#include <catch2/catch.hpp>

#include "tests/devices/device_test_support.h"

namespace ring3 {
namespace {

struct PmFixture {
  ManualClock clock;
  TimerQueue timers;
  RecordingIrqs irqs;
  unsigned power_offs = 0;
  AcpiPm pm{clock, timers, IrqLine(irqs, 9), [this] { ++power_offs; }};
  PortBus bus;

  explicit PmFixture(uint64_t start_ns = 0) : clock(start_ns) {
    bus.Attach(0x600, 12, pm, "pm");
    bus.Attach(0xB2, 2, pm.SmiCommand(), "smi");
  }
  void Out(uint16_t port, unsigned size, uint32_t value) { bus.Write(port, size, value); }
  uint32_t In(uint16_t port, unsigned size) { return bus.Read(port, size); }
};

}  // namespace

TEST_CASE("acpi: the PM timer counts at 3.579545 MHz in 24 bits", "[acpi]") {
  PmFixture f;
  CHECK(f.In(0x608, 4) == 0);
  f.clock.Set(kNanosecondsPerSecond);
  CHECK(f.In(0x608, 4) == 3579545);
  CHECK(f.In(0x609, 1) == (3579545u >> 8 & 0xFF));
  f.clock.Set(100 * kNanosecondsPerSecond);
  CHECK(f.In(0x608, 4) == (357954500u & 0xFFFFFF));
}

TEST_CASE("acpi: SCI_EN changes only through the SMI command port", "[acpi]") {
  PmFixture f;
  f.Out(0x604, 2, 0x0001);
  CHECK(f.In(0x604, 2) == 0);
  f.Out(0xB2, 1, AcpiPm::kAcpiEnable);
  CHECK(f.In(0x604, 2) == 1);
  f.Out(0x604, 2, 0x1402);
  CHECK(f.In(0x604, 2) == 0x1403);
  f.Out(0xB2, 1, AcpiPm::kAcpiDisable);
  CHECK(f.In(0x604, 2) == 0x1402);
}

TEST_CASE("acpi: power button", "[acpi]") {
  PmFixture f;
  f.Out(0x602, 2, 0x0100);
  f.pm.PressPowerButton();
  CHECK_FALSE(f.irqs.levels[9]);  // legacy mode
  f.Out(0xB2, 1, AcpiPm::kAcpiEnable);
  CHECK(f.irqs.levels[9]);
  CHECK(f.In(0x600, 2) == 0x0100);
  CHECK(f.In(0x600, 4) == 0x01000100);
  f.Out(0x600, 2, 0x0001);
  CHECK(f.irqs.levels[9]);
  f.Out(0x601, 1, 0x01);
  CHECK_FALSE(f.irqs.levels[9]);
  CHECK(f.In(0x600, 2) == 0);
  f.Out(0x602, 2, 0x0000);
  f.pm.PressPowerButton();
  CHECK_FALSE(f.irqs.levels[9]);
}

TEST_CASE("acpi: timer carry status and interrupt", "[acpi]") {
  PmFixture f;
  constexpr uint64_t kHalf = uint64_t{1} << 23;
  const uint64_t carry = TicksToNanoseconds(kHalf, AcpiPm::kTimerHertz);
  f.clock.Set(carry - 1);
  CHECK(f.In(0x600, 2) == 0);
  f.clock.Set(carry);
  CHECK(f.In(0x600, 2) == 1);
  CHECK(f.timers.NextDeadline() == std::nullopt);
  f.Out(0x600, 2, 1);
  f.Out(0x602, 2, 1);
  f.Out(0xB2, 1, AcpiPm::kAcpiEnable);
  const uint64_t next = TicksToNanoseconds(2 * kHalf, AcpiPm::kTimerHertz);
  CHECK(f.timers.NextDeadline() == next);
  AdvanceExactly(f.clock, f.timers, next - carry);
  CHECK(f.irqs.levels[9]);
  f.Out(0x600, 2, 1);
  CHECK_FALSE(f.irqs.levels[9]);
}

TEST_CASE("acpi: soft off, and sleep states that do not exist", "[acpi]") {
  PmFixture f;
  f.Out(0x604, 2, AcpiPm::kSleepTypeS5 << 10);
  CHECK(f.power_offs == 0);
  f.Out(0x604, 2, 0x2000 | 1 << 10);
  CHECK(f.power_offs == 0);
  CHECK(f.In(0x600, 2) == 0x8000);  // WAK_STS
  f.Out(0x604, 2, 0x2000 | AcpiPm::kSleepTypeS5 << 10);
  CHECK(f.power_offs == 1);
  CHECK((f.In(0x604, 2) & 0x2000) == 0);
}

TEST_CASE("acpi: reset", "[acpi]") {
  PmFixture f;
  f.Out(0xB2, 2, 0x5500 | AcpiPm::kAcpiEnable);
  CHECK(f.In(0xB3, 1) == 0x55);
  f.Out(0x602, 2, 0x0100);
  f.pm.PressPowerButton();
  f.pm.Reset();
  CHECK_FALSE(f.irqs.levels[9]);
  CHECK(f.In(0x600, 4) == 0);
  CHECK_FALSE(f.pm.AcpiEnabled());
  CHECK(f.In(0xB2, 2) == 0);
}

TEST_CASE("acpi: the PM timer begins at zero, so that memtest86+ meets no overflow where it measures the TSC",
          "[acpi]") {
  PmFixture f(1'234'567'890'123);
  CHECK(f.In(0x608, 4) == 0);
  f.clock.Set(f.clock.NowNs() + kNanosecondsPerSecond);
  CHECK(f.In(0x608, 4) == AcpiPm::kTimerHertz);
  CHECK(f.In(0x600, 2) == 0);
  f.pm.Reset();
  CHECK(f.In(0x608, 4) == 0);
  f.Out(0x602, 2, 1);
  f.Out(0xB2, 1, AcpiPm::kAcpiEnable);
  const uint64_t carry = TicksToNanoseconds(uint64_t{1} << 23, AcpiPm::kTimerHertz);
  CHECK(f.timers.NextDeadline() == f.clock.NowNs() + carry);
}

}  // namespace ring3
