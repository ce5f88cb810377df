#include <catch2/catch.hpp>

#include "devices/io_apic.h"
#include "devices/local_apic.h"

namespace ring3 {
namespace {

constexpr uint64_t kSpurious = 0xF0, kTaskPriority = 0x80, kEoi = 0xB0, kLvtTimer = 0x320, kLint0 = 0x350,
                   kLvtError = 0x370, kInitial = 0x380, kCurrent = 0x390, kDivide = 0x3E0, kCommand = 0x300,
                   kCommandHigh = 0x310, kErrors = 0x280, kInService = 0x100, kRequest = 0x200;
constexpr uint32_t kMasked = 0x10000, kPeriodic = 0x20000, kLevel = 0x8000, kByOne = 0xB;

struct Fixture {
  ManualClock clock{1000};
  TimerQueue timers;
  LocalApic apic{clock, timers, {[] {}, [this](uint8_t vector) { chip.EndInterrupt(vector); }}};
  IoApic chip{apic};

  void Write(uint64_t offset, uint32_t value) { apic.WriteMmio(GuestPhysical(LocalApic::kAddress + offset), 4, value); }
  uint32_t Read(uint64_t offset) {
    return static_cast<uint32_t>(apic.ReadMmio(GuestPhysical(LocalApic::kAddress + offset), 4));
  }
  void Enable() { Write(kSpurious, 0x1FF); }
  void WriteIo(uint8_t index, uint32_t value) {
    chip.WriteMmio(GuestPhysical(IoApic::kAddress), 4, index);
    chip.WriteMmio(GuestPhysical(IoApic::kAddress + 0x10), 4, value);
  }
  uint32_t ReadIo(uint8_t index) {
    chip.WriteMmio(GuestPhysical(IoApic::kAddress), 4, index);
    return static_cast<uint32_t>(chip.ReadMmio(GuestPhysical(IoApic::kAddress + 0x10), 4));
  }
  void Advance(uint64_t ns) {
    clock.Advance(ns);
    timers.RunExpired(clock.NowNs());
  }
};

}  // namespace

TEST_CASE("local apic: after RESET the 8259As reach the processor through LINT0", "[apic]") {
  Fixture f;
  CHECK(f.Read(0x30) == 0x50014);
  CHECK(f.Read(kSpurious) == 0xFF);
  CHECK_FALSE(f.apic.HasInterrupt());
  f.apic.SetExternal(true);
  CHECK(f.apic.HasInterrupt());
  CHECK_FALSE(f.apic.Acknowledge());  // the 8259As are to be asked
  f.Write(kLint0, 0x10700);
  CHECK_FALSE(f.apic.HasInterrupt());
  f.Enable();
  f.Write(kLint0, 0x8700);  // as a BIOS writes it
  CHECK(f.apic.HasInterrupt());
  f.apic.Reset();
  CHECK(f.apic.HasInterrupt());
}

TEST_CASE("local apic: priorities, and interrupts within interrupts", "[apic]") {
  Fixture f;
  f.apic.Deliver(0x50, false);
  CHECK_FALSE(f.apic.HasInterrupt());  // switched off by software
  f.Enable();
  f.apic.Deliver(0x51, false);
  f.apic.Deliver(0x55, false);
  CHECK(f.Read(kRequest + 0x20) == (1u << 0x11 | 1u << 0x15));
  CHECK(f.apic.Acknowledge() == uint8_t{0x55});
  CHECK(f.Read(kInService + 0x20) == 1u << 0x15);
  CHECK_FALSE(f.apic.HasInterrupt());  // the same class
  f.apic.Deliver(0x60, false);
  CHECK(f.apic.Acknowledge() == uint8_t{0x60});
  f.Write(kEoi, 0);
  CHECK_FALSE(f.apic.HasInterrupt());
  f.Write(kEoi, 0);
  CHECK(f.apic.HasInterrupt());
  f.Write(kTaskPriority, 0x50);
  CHECK_FALSE(f.apic.HasInterrupt());
  CHECK(f.apic.Acknowledge() == uint8_t{0xFF});  // gone meanwhile: the spurious vector
  f.Write(kTaskPriority, 0x40);
  CHECK(f.apic.Acknowledge() == uint8_t{0x51});
  f.Write(kEoi, 0);
  f.Write(kEoi, 0);  // one too many
  CHECK_FALSE(f.apic.HasInterrupt());
}

TEST_CASE("local apic: the timer, once and again and again", "[apic]") {
  Fixture f;
  f.Enable();
  f.Write(kDivide, kByOne);
  f.Write(kLvtTimer, 0x40);
  f.Write(kInitial, 1'000'000);
  f.Advance(400'000);
  CHECK(f.Read(kCurrent) == 600'000);
  CHECK_FALSE(f.apic.HasInterrupt());
  f.Advance(600'000);
  CHECK(f.apic.Acknowledge() == uint8_t{0x40});
  CHECK(f.Read(kCurrent) == 0);
  CHECK_FALSE(f.timers.NextDeadline());
  f.Write(kEoi, 0);

  f.Write(kDivide, 3);  // by 16
  f.Write(kLvtTimer, 0x40 | kPeriodic);
  f.Write(kInitial, 100'000);
  f.Advance(1'600'000);
  CHECK(f.apic.Acknowledge() == uint8_t{0x40});
  f.Write(kEoi, 0);
  f.Advance(5 * 1'600'000 + 160'000);
  CHECK(f.apic.Acknowledge() == uint8_t{0x40});
  f.Write(kEoi, 0);
  CHECK_FALSE(f.apic.HasInterrupt());  // what was missed is one
  CHECK(f.Read(kCurrent) == 90'000);
  f.Write(kLvtTimer, 0x40 | kPeriodic | kMasked);
  CHECK_FALSE(f.timers.NextDeadline());
  f.Write(kLvtTimer, 0x40 | kPeriodic);
  CHECK(f.timers.NextDeadline());
  f.Write(kInitial, 0);
  CHECK_FALSE(f.timers.NextDeadline());
  CHECK(f.Read(kCurrent) == 0);
}

TEST_CASE("local apic: a timer with a period of a nanosecond leaves time for the guest", "[apic]") {
  Fixture f;
  f.Enable();
  f.Write(kDivide, kByOne);
  f.Write(kLvtTimer, 0x40 | kPeriodic);
  f.Write(kInitial, 1);
  for (int i = 0; i < 100; ++i) {
    REQUIRE(f.timers.NextDeadline());
    CHECK(*f.timers.NextDeadline() > f.clock.NowNs());
    f.Advance(*f.timers.NextDeadline() - f.clock.NowNs());
  }
  CHECK(f.clock.NowNs() > 1'000'000);
}

TEST_CASE("local apic: messages to itself, and errors", "[apic]") {
  Fixture f;
  f.Enable();
  f.Write(kCommand, 0x40000 | 0x71);  // self
  CHECK(f.apic.Acknowledge() == uint8_t{0x71});
  f.Write(kEoi, 0);
  f.Write(kCommandHigh, 0x05000000);
  f.Write(kCommand, 0x72);  // another processor
  f.Write(kCommand, 0xC0000 | 0x73);
  f.Write(kCommand, 0x500);  // INIT
  CHECK_FALSE(f.apic.HasInterrupt());
  CHECK((f.Read(kCommand) & 0x1000) == 0);  // sent
  f.Write(0xD0, 0x02000000);
  f.Write(kCommandHigh, 0x03000000);
  f.Write(kCommand, 0x800 | 0x74);  // logical, flat
  CHECK(f.apic.Acknowledge() == uint8_t{0x74});
  f.Write(kEoi, 0);
  f.Write(kLvtError, 0x33);
  f.Write(kCommand, 0x40000 | 5);
  CHECK(f.apic.Acknowledge() == uint8_t{0x33});
  CHECK(f.Read(kErrors) == 0);
  f.Write(kErrors, 0);
  CHECK(f.Read(kErrors) == 0x20);
  f.Write(kErrors, 0);
  CHECK(f.Read(kErrors) == 0);
  for (uint64_t offset = 0; offset < 0x1000; offset += 4) {  // no register does harm
    f.Write(offset, 0xFFFFFFFF);
    f.Read(offset);
  }
}

TEST_CASE("local apic: cluster destinations", "[apic]") {
  Fixture f;
  f.Write(0xE0, 0x0FFFFFFF);
  f.Write(0xD0, 0x24000000);
  CHECK(f.apic.Accepts(0x24, true));
  CHECK(f.apic.Accepts(0xF4, true));
  CHECK_FALSE(f.apic.Accepts(0x34, true));
  CHECK_FALSE(f.apic.Accepts(0x22, true));
  CHECK(f.apic.Accepts(0x00, false));
  CHECK(f.apic.Accepts(0xFF, false));
  CHECK_FALSE(f.apic.Accepts(0x24, false));
}

TEST_CASE("io apic: edges and levels", "[apic]") {
  Fixture f;
  f.Enable();
  CHECK(f.ReadIo(1) == 0x00170011);
  CHECK(f.ReadIo(0x10 + 2 * 4) == kMasked);
  f.chip.SetIrq(4, true);
  f.WriteIo(0x10 + 2 * 4, 0x34);
  CHECK_FALSE(f.apic.HasInterrupt());  // the edge came while the input was masked
  f.chip.SetIrq(4, false);
  CHECK(f.chip.GetIrqState(4) == IrqState::kIdle);
  f.chip.SetIrq(4, true);
  CHECK(f.chip.GetIrqState(4) == IrqState::kPending);
  CHECK(f.apic.Acknowledge() == uint8_t{0x34});
  f.Write(kEoi, 0);
  CHECK_FALSE(f.apic.HasInterrupt());

  constexpr uint8_t kEntry = 0x10 + 2 * 11;
  f.chip.SetIrq(11, true);
  f.WriteIo(kEntry, 0x3B | kLevel);
  CHECK(f.ReadIo(kEntry) == (0x403Bu | kLevel));
  CHECK(f.apic.Acknowledge() == uint8_t{0x3B});
  CHECK_FALSE(f.apic.HasInterrupt());
  f.Write(kEoi, 0);
  CHECK(f.apic.HasInterrupt());  // still asserted
  f.chip.SetIrq(11, false);
  CHECK(f.apic.Acknowledge() == uint8_t{0x3B});
  f.Write(kEoi, 0);
  CHECK_FALSE(f.apic.HasInterrupt());
  CHECK(f.ReadIo(kEntry) == (0x3Bu | kLevel));
  f.WriteIo(kEntry + 1, 0x07000000);  // another processor's
  f.chip.SetIrq(11, true);
  CHECK_FALSE(f.apic.HasInterrupt());
  for (unsigned index = 0; index < 256; ++index) {
    f.WriteIo(static_cast<uint8_t>(index), 0xFFFFFFFF);
    f.ReadIo(static_cast<uint8_t>(index));
  }
  f.chip.Reset();
  CHECK(f.ReadIo(kEntry) == kMasked);
}

}  // namespace ring3
