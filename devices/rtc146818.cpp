#include "devices/rtc146818.h"

#include <algorithm>
#include <chrono>
#include <optional>

namespace ring3 {
namespace {

enum Register : uint8_t {
  kSeconds,
  kSecondsAlarm,
  kMinutes,
  kMinutesAlarm,
  kHours,
  kHoursAlarm,
  kDayOfWeek,
  kDay,
  kMonth,
  kYear,
  kRegisterA,
  kRegisterB,
  kRegisterC,
  kRegisterD
};

// Register A.
constexpr uint8_t kUpdateInProgress = 0x80;
constexpr uint8_t kDividerMask = 0x70;
constexpr uint8_t kDividerRunning = 0x20;  // 32.768 kHz time base
constexpr uint8_t kDividerReset = 0x60;    // 11x
constexpr uint8_t kRateMask = 0x0F;
constexpr uint8_t kDefaultRate = 0x06;  // 1024 Hz
// Register B.
constexpr uint8_t kSet = 0x80;
constexpr uint8_t kPeriodicEnable = 0x40;
constexpr uint8_t kAlarmEnable = 0x20;
constexpr uint8_t kUpdateEndedEnable = 0x10;
constexpr uint8_t kSquareWaveEnable = 0x08;
constexpr uint8_t kBinaryMode = 0x04;
constexpr uint8_t k24Hour = 0x02;
// Register C: flags at the positions of their enables in B.
constexpr uint8_t kInterruptRequest = 0x80;
constexpr uint8_t kPeriodicFlag = kPeriodicEnable;
constexpr uint8_t kAlarmFlag = kAlarmEnable;
constexpr uint8_t kUpdateEndedFlag = kUpdateEndedEnable;
constexpr uint8_t kAllFlags = kPeriodicFlag | kAlarmFlag | kUpdateEndedFlag;
// Register D.
constexpr uint8_t kValidRamAndTime = 0x80;

constexpr uint8_t kAfternoon = 0x80;      // hours in 12-hour mode
constexpr uint8_t kAlarmDontCare = 0xC0;  // both bits set

// CMOS RAM as the PC's firmware uses it.
constexpr uint8_t kEquipment = 0x14;
constexpr uint8_t kEquipmentFpuAndMouse = 0x06;
constexpr uint8_t kBaseMemoryLow = 0x15;
constexpr uint8_t kExtendedMemoryLow = 0x17;
constexpr uint8_t kChecksumFirst = 0x10;
constexpr uint8_t kChecksumLast = 0x2D;
constexpr uint8_t kChecksumHigh = 0x2E;
constexpr uint8_t kChecksumLow = 0x2F;
constexpr uint8_t kExtendedMemoryActualLow = 0x30;
constexpr uint8_t kMemoryAbove16MLow = 0x34;
constexpr uint16_t kBaseMemoryKiB = 640;

constexpr uint8_t kNmiMask = 0x80;
constexpr uint8_t kIndexMask = 0x7F;

constexpr uint64_t kOscillatorHertz = 32768;
constexpr uint64_t kUpdateWarningNs = 244'000;  // UIP rises this long before the update
constexpr uint64_t kUpdateNs = 1'984'000;       // ... which takes this long with a 32.768 kHz time base
constexpr int64_t kSecondsPerDay = 86400;

bool IsTime(uint8_t index) {
  return index == Rtc146818::kCenturyRegister ||
         (index <= kYear && index != kSecondsAlarm && index != kMinutesAlarm && index != kHoursAlarm);
}

}  // namespace

Rtc146818::Rtc146818(Clock& clock, TimerQueue& timers, IrqLine irq, uint64_t unix_ns)
    : clock_(clock), irq_(irq), timer_(timers, [this](uint64_t now) { UpdateInterrupt(now); }) {
  ram_[kRegisterA] = kDividerRunning | kDefaultRate;
  ram_[kRegisterB] = k24Hour;
  divider_offset_ = unix_ns % kNanosecondsPerSecond - clock.NowNs();
  seconds_offset_ = static_cast<int64_t>(unix_ns / kNanosecondsPerSecond);
  synced_ = DividerNs(clock.NowNs());
}

void Rtc146818::SetMemorySize(uint64_t ram_bytes) {
  const auto store = [this](uint8_t index, uint64_t value) {
    ram_[index] = static_cast<uint8_t>(value);
    ram_[index + 1] = static_cast<uint8_t>(value >> 8);
  };
  const auto units_above = [ram_bytes](uint64_t start, uint64_t unit) {
    return ram_bytes <= start ? 0 : std::min<uint64_t>((ram_bytes - start) / unit, 0xFFFF);
  };
  const uint64_t extended_kib = units_above(1 << 20, 1 << 10);
  store(kBaseMemoryLow, kBaseMemoryKiB);
  store(kExtendedMemoryLow, extended_kib);
  store(kExtendedMemoryActualLow, extended_kib);
  store(kMemoryAbove16MLow, units_above(16 << 20, 64 << 10));
  ram_[kEquipment] = kEquipmentFpuAndMouse;
  StoreChecksum();
}

void Rtc146818::SetCmos(uint8_t index, uint8_t value) {
  ram_.at(index) = value;
  StoreChecksum();
}

void Rtc146818::StoreChecksum() {
  unsigned sum = 0;
  for (unsigned i = kChecksumFirst; i <= kChecksumLast; ++i) sum += ram_[i];
  ram_[kChecksumHigh] = static_cast<uint8_t>(sum >> 8);
  ram_[kChecksumLow] = static_cast<uint8_t>(sum);
}

void Rtc146818::Reset() {
  const uint64_t now = clock_.NowNs();
  SyncFlags(now);
  ram_[kRegisterB] &= static_cast<uint8_t>(~(kAllFlags | kSquareWaveEnable));
  ram_[kRegisterC] = 0;
  nmi_masked_ = false;
  UpdateInterrupt(now);
}

int64_t Rtc146818::Seconds(uint64_t divider_ns) const {
  return seconds_offset_ + static_cast<int64_t>(divider_ns / kNanosecondsPerSecond);
}

bool Rtc146818::DividerHeld() const { return (ram_[kRegisterA] & kDividerReset) == kDividerReset; }

bool Rtc146818::Halted() const {
  return (ram_[kRegisterB] & kSet) != 0 || (ram_[kRegisterA] & kDividerMask) != kDividerRunning;
}

/// The period of the periodic interrupt in oscillator ticks; 0 when off.
uint64_t Rtc146818::PeriodicTicks() const {
  const unsigned rate = ram_[kRegisterA] & kRateMask;
  if (rate == 0 || DividerHeld()) return 0;
  return uint64_t{1} << (rate <= 2 ? rate + 6 : rate - 1);
}

uint8_t Rtc146818::ReadByte(uint16_t port) {
  return (port & 1) == 0 ? 0xFF : ReadRegister(index_);  // the index is write-only
}

void Rtc146818::WriteByte(uint16_t port, uint8_t value) {
  if ((port & 1) == 0) {
    index_ = value & kIndexMask;
    nmi_masked_ = (value & kNmiMask) != 0;
  } else {
    WriteRegister(index_, value);
  }
}

uint8_t Rtc146818::ReadRegister(uint8_t index) {
  const uint64_t now = clock_.NowNs();
  if (IsTime(index)) {
    if (!Halted()) StoreTime(now);
    return ram_[index];
  }
  switch (index) {
    case kRegisterA: {
      const uint64_t phase = DividerNs(now) % kNanosecondsPerSecond;
      const bool updating = !Halted() && phase >= kNanosecondsPerSecond - kUpdateWarningNs - kUpdateNs;
      return static_cast<uint8_t>(ram_[kRegisterA] | (updating ? kUpdateInProgress : 0));
    }
    case kRegisterC: {
      SyncFlags(now);
      const uint8_t flags = ram_[kRegisterC];
      const bool requested = (flags & ram_[kRegisterB] & kAllFlags) != 0;
      ram_[kRegisterC] = 0;
      UpdateInterrupt(now);
      return static_cast<uint8_t>(flags | (requested ? kInterruptRequest : 0));
    }
    case kRegisterD:
      return kValidRamAndTime;
    default:
      return ram_[index];
  }
}

void Rtc146818::WriteRegister(uint8_t index, uint8_t value) {
  const uint64_t now = clock_.NowNs();
  if (IsTime(index)) {
    if (!Halted()) StoreTime(now);
    ram_[index] = value;
    if (!Halted()) AdoptTime(now);
  } else if (index == kRegisterA || index == kRegisterB) {
    WriteControl(index, value);
  } else if (index != kRegisterC && index != kRegisterD) {
    SyncFlags(now);  // the alarm up to now was the old one
    ram_[index] = value;
  }
}

void Rtc146818::WriteControl(uint8_t index, uint8_t value) {
  const uint64_t now = clock_.NowNs();
  SyncFlags(now);
  const bool was_halted = Halted();
  const bool was_held = DividerHeld();
  if (!was_halted) StoreTime(now);  // in the old format
  if (index == kRegisterA) {
    ram_[kRegisterA] = value & static_cast<uint8_t>(~kUpdateInProgress);
  } else {
    if ((value & kSet) != 0) value &= static_cast<uint8_t>(~kUpdateEndedEnable);
    ram_[kRegisterB] = value;
  }
  if (was_held && !DividerHeld()) {  // the first update comes half a second after the divider's release
    const uint64_t phase = DividerNs(now) % kNanosecondsPerSecond;
    divider_offset_ += (kNanosecondsPerSecond * 3 / 2 - phase) % kNanosecondsPerSecond;
    synced_ = DividerNs(now);
  }
  if (was_halted && !Halted()) AdoptTime(now);
  UpdateInterrupt(now);
}

uint8_t Rtc146818::Encode(unsigned value) const {
  if ((ram_[kRegisterB] & kBinaryMode) != 0) return static_cast<uint8_t>(value);
  return static_cast<uint8_t>(value / 10 << 4 | value % 10);
}

unsigned Rtc146818::Decode(uint8_t value) const {
  if ((ram_[kRegisterB] & kBinaryMode) != 0) return value;
  return (value >> 4) * 10u + (value & 0xFu);
}

uint8_t Rtc146818::EncodeHour(unsigned hour) const {
  if ((ram_[kRegisterB] & k24Hour) != 0) return Encode(hour);
  return static_cast<uint8_t>(Encode(hour % 12 == 0 ? 12 : hour % 12) | (hour >= 12 ? kAfternoon : 0));
}

unsigned Rtc146818::DecodeHour(uint8_t value) const {
  if ((ram_[kRegisterB] & k24Hour) != 0) return Decode(value);
  return Decode(value & static_cast<uint8_t>(~kAfternoon)) % 12 + ((value & kAfternoon) != 0 ? 12 : 0);
}

/// Copies the running time into the time registers.
void Rtc146818::StoreTime(uint64_t now) {
  using namespace std::chrono;
  const sys_seconds time{seconds{Seconds(DividerNs(now))}};
  const sys_days date = floor<days>(time);
  const year_month_day civil{date};
  const hh_mm_ss clock{time - date};
  const auto year = static_cast<unsigned>(static_cast<int>(civil.year()));
  ram_[kSeconds] = Encode(static_cast<unsigned>(clock.seconds().count()));
  ram_[kMinutes] = Encode(static_cast<unsigned>(clock.minutes().count()));
  ram_[kHours] = EncodeHour(static_cast<unsigned>(clock.hours().count()));
  ram_[kDayOfWeek] = Encode(weekday{date}.c_encoding() + 1);  // Sunday is 1
  ram_[kDay] = Encode(static_cast<unsigned>(civil.day()));
  ram_[kMonth] = Encode(static_cast<unsigned>(civil.month()));
  ram_[kYear] = Encode(year % 100);
  ram_[kCenturyRegister] = Encode(year / 100);
}

/// Lets time run on from what the time registers say.
void Rtc146818::AdoptTime(uint64_t now) {
  using namespace std::chrono;
  const year_month first{year{static_cast<int>(Decode(ram_[kCenturyRegister]) * 100 + Decode(ram_[kYear]))},
                         month{std::clamp(Decode(ram_[kMonth]), 1u, 12u)}};
  const sys_days date = sys_days{first / day{1}} + days{static_cast<int>(Decode(ram_[kDay])) - 1};
  const sys_seconds time =
      date + hours{DecodeHour(ram_[kHours])} + minutes{Decode(ram_[kMinutes])} + seconds{Decode(ram_[kSeconds])};
  synced_ = DividerNs(now);
  seconds_offset_ = time.time_since_epoch().count() - static_cast<int64_t>(synced_ / kNanosecondsPerSecond);
}

bool Rtc146818::AlarmMatches(int64_t time) const {
  const auto second_of_day = static_cast<unsigned>((time % kSecondsPerDay + kSecondsPerDay) % kSecondsPerDay);
  const auto matches = [this](uint8_t alarm, uint8_t encoded) {
    return (ram_[alarm] & kAlarmDontCare) == kAlarmDontCare || ram_[alarm] == encoded;
  };
  return matches(kSecondsAlarm, Encode(second_of_day % 60)) &&
         matches(kMinutesAlarm, Encode(second_of_day / 60 % 60)) &&
         matches(kHoursAlarm, EncodeHour(second_of_day / 3600));
}

void Rtc146818::SyncFlags(uint64_t now) {
  const uint64_t until = DividerNs(now);
  if (until <= synced_) return;
  uint8_t& flags = ram_[kRegisterC];
  const int64_t first = Seconds(synced_) + 1;
  const int64_t last = Seconds(until);
  if (!Halted() && last >= first) {
    flags |= kUpdateEndedFlag;
    for (int64_t s = std::max(first, last - kSecondsPerDay + 1); s <= last && (flags & kAlarmFlag) == 0; ++s) {
      if (AlarmMatches(s)) flags |= kAlarmFlag;
    }
  }
  if (const uint64_t period = PeriodicTicks(); period != 0) {
    const auto count = [period](uint64_t ns) { return NanosecondsToTicks(ns, kOscillatorHertz) / period; };
    if (count(until) != count(synced_)) flags |= kPeriodicFlag;
  }
  synced_ = until;
}

/// Brings flags and IRQ line up to date and arms the timer for the next time an enabled flag can rise.
void Rtc146818::UpdateInterrupt(uint64_t now) {
  SyncFlags(now);
  const uint8_t enabled = ram_[kRegisterB] & kAllFlags;
  irq_.Set((ram_[kRegisterC] & enabled) != 0);

  const uint8_t awaited = enabled & static_cast<uint8_t>(~ram_[kRegisterC]);
  const uint64_t divider_ns = DividerNs(now);
  std::optional<uint64_t> due;
  if ((awaited & (kAlarmEnable | kUpdateEndedEnable)) != 0 && !Halted()) {
    due = (divider_ns / kNanosecondsPerSecond + 1) * kNanosecondsPerSecond;
  }
  if (const uint64_t period = PeriodicTicks(); period != 0 && (awaited & kPeriodicEnable) != 0) {
    const uint64_t edge = (NanosecondsToTicks(divider_ns, kOscillatorHertz) / period + 1) * period;
    const uint64_t edge_ns = TicksToNanoseconds(edge, kOscillatorHertz);
    due = std::min(due.value_or(edge_ns), edge_ns);
  }
  if (due) {
    timer_.Schedule(*due - divider_offset_);
  } else {
    timer_.Cancel();
  }
}

}  // namespace ring3
