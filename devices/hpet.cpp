#include "devices/hpet.h"

#include <algorithm>
#include <utility>

#include "devices/layout.h"

namespace ring3 {
namespace {

// Registers.
constexpr uint32_t kCapabilities = 0x000, kConfiguration = 0x010, kStatus = 0x020, kCounter = 0x0F0;
constexpr uint32_t kFirstTimer = 0x100, kTimerBytes = 0x20;
constexpr uint32_t kTimerConfig = 0x00, kTimerComparator = 0x08;

constexpr uint64_t kFemtosecondsPerNs = 1'000'000;
constexpr uint64_t kEnable = 1, kLegacy = 2;
// Of a timer.
constexpr uint64_t kLevel = 1 << 1, kInterrupt = 1 << 2, kPeriodic = 1 << 3, kCanPeriodic = 1 << 4, kCan64 = 1 << 5,
                   kSetValue = 1 << 6, kNarrow = 1 << 8;
constexpr unsigned kRouteShift = 9;
constexpr uint64_t kRouteMask = 0x1F;
constexpr uint64_t kTimerWritable = kLevel | kInterrupt | kPeriodic | kSetValue | kNarrow | kRouteMask << kRouteShift;
constexpr uint32_t kRoutes = 0x00F0'0000;  // inputs 20 to 23 of the I/O APIC

/// A shorter period would leave the guest no time to run.
constexpr uint64_t kShortestPeriodNs = 20'000;

constexpr uint64_t Mask(uint64_t config) { return config & kNarrow ? 0xFFFF'FFFF : ~uint64_t{0}; }
constexpr unsigned Route(uint64_t config) { return static_cast<unsigned>(config >> kRouteShift & kRouteMask); }

}  // namespace

void ReplaceableLine::SetIrq(unsigned irq, bool level) {
  irq_ = irq, level_ = level;
  if (!replaced_) lines_.SetIrq(irq, level);
}

void ReplaceableLine::SetReplaced(bool replaced) {
  if (std::exchange(replaced_, replaced) == replaced) return;
  lines_.SetIrq(irq_, !replaced && level_);
}

Hpet::Hpet(Clock& clock, TimerQueue& timers, Wires wires)
    : clock_(clock),
      wires_(std::move(wires)),
      timers_{Timer(timers, [this](uint64_t now) { Fire(0, now); }),
              Timer(timers, [this](uint64_t now) { Fire(1, now); }),
              Timer(timers, [this](uint64_t now) { Fire(2, now); })} {
  Reset();
}

void Hpet::Reset() {
  for (unsigned i = 0; i < kTimers; ++i) {
    Drive(i, false);
    comparators_[i] = {};
    comparators_[i].config = kCanPeriodic | kCan64 | uint64_t{wires_.io_apic ? kRoutes : 0} << 32;
  }
  configuration_ = status_ = counter_ = 0;
  wires_.replace_legacy(false);
  ScheduleAll();
}

bool Hpet::Enabled() const { return configuration_ & kEnable; }
bool Hpet::LegacyReplacement() const { return configuration_ & kLegacy; }
bool Hpet::ReplacesLegacy(unsigned index) const { return LegacyReplacement() && index < 2; }
uint64_t Hpet::Counter(uint64_t now) const { return Enabled() ? counter_ + now / kPeriodNs : counter_; }

uint64_t Hpet::Register(uint32_t offset) const {
  switch (offset) {
    case kCapabilities:
      return kIdentity | kPeriodNs * kFemtosecondsPerNs << 32;
    case kConfiguration:
      return configuration_;
    case kStatus:
      return status_;
    case kCounter:
      return Counter(clock_.NowNs());
    default:
      break;
  }
  const uint32_t index = (offset - kFirstTimer) / kTimerBytes;
  if (offset < kFirstTimer || index >= kTimers) return 0;
  const Comparator& timer = comparators_[index];
  switch (offset % kTimerBytes) {
    case kTimerConfig:
      return timer.config;
    case kTimerComparator:
      return timer.value & Mask(timer.config);
    default:
      return 0;
  }
}

uint64_t Hpet::ReadMmio(GuestPhysical address, unsigned size) {
  const auto at = static_cast<uint32_t>(address.value - kAddress);
  const uint64_t value = Register(at & ~7u) >> (8 * (at & 7));
  return size == 8 ? value : value & ((uint64_t{1} << 8 * size) - 1);
}

void Hpet::WriteMmio(GuestPhysical address, unsigned size, uint64_t value) {
  const auto at = static_cast<uint32_t>(address.value - kAddress);
  if (size < 4 || at % size != 0) return;
  const unsigned shift = 8 * (at & 7);
  const uint64_t written = (size == 8 ? ~uint64_t{0} : 0xFFFF'FFFF) << shift;
  SetRegister(at & ~7u, value << shift, written);
}

/// `written` are the bits that the access reaches.
void Hpet::SetRegister(uint32_t offset, uint64_t value, uint64_t written) {
  const auto merged = [&](uint64_t before) { return (before & ~written) | (value & written); };
  switch (offset) {
    case kConfiguration:
      return SetConfiguration(merged(configuration_));
    case kStatus:
      return ClearStatus(value & written);
    case kCounter:
      if (!Enabled()) counter_ = merged(counter_);
      return;
    default:
      break;
  }
  const uint32_t index = (offset - kFirstTimer) / kTimerBytes;
  if (offset < kFirstTimer || index >= kTimers) return;
  if (offset % kTimerBytes == kTimerConfig) ConfigureTimer(index, merged(comparators_[index].config));
  if (offset % kTimerBytes == kTimerComparator) SetComparator(index, value, written);
}

void Hpet::SetConfiguration(uint64_t value) {
  const uint64_t now = clock_.NowNs(), counter = Counter(now);
  const bool replaced = LegacyReplacement();
  for (unsigned i = 0; i < kTimers; ++i) Drive(i, false);  // they may lead elsewhere
  configuration_ = value & (kEnable | kLegacy);
  counter_ = Enabled() ? counter - now / kPeriodNs : counter;
  if (replaced != LegacyReplacement()) wires_.replace_legacy(LegacyReplacement());
  for (unsigned i = 0; i < kTimers; ++i) Drive(i, status_ >> i & 1);
  ScheduleAll();
}

void Hpet::ConfigureTimer(unsigned index, uint64_t value) {
  Comparator& timer = comparators_[index];
  Drive(index, false);
  timer.config = (timer.config & ~kTimerWritable) | (value & kTimerWritable);
  if (!wires_.io_apic || !(kRoutes >> Route(timer.config) & 1)) timer.config &= ~(kRouteMask << kRouteShift);
  if (!(timer.config & kLevel)) status_ &= ~(uint64_t{1} << index);
  Drive(index, status_ >> index & 1);
  Schedule(index);
}

/// In periodic mode what is written is the period, and the comparator's value too where the guest has said so before.
void Hpet::SetComparator(unsigned index, uint64_t value, uint64_t written) {
  Comparator& timer = comparators_[index];
  const auto set = [&](uint64_t& target) { target = (target & ~written) | (value & written); };
  const bool periodic = timer.config & kPeriodic;
  if (!periodic || (timer.config & kSetValue)) set(timer.value);
  if (periodic) {
    set(timer.period);
    timer.config &= ~kSetValue;
  }
  Schedule(index);
}

void Hpet::ClearStatus(uint64_t bits) {
  for (unsigned i = 0; i < kTimers; ++i) {
    if (!(bits >> i & 1)) continue;
    status_ &= ~(uint64_t{1} << i);
    Drive(i, false);
  }
}

/// From 1 on: a comparator that the counter equals right now has fired already.
uint64_t Hpet::TicksToMatch(const Comparator& timer, uint64_t counter) const {
  return ((timer.value - counter - 1) & Mask(timer.config)) + 1;
}

void Hpet::ScheduleAll() {
  for (unsigned i = 0; i < kTimers; ++i) Schedule(i);
}

void Hpet::Schedule(unsigned index, uint64_t earliest_ns) {
  const Comparator& timer = comparators_[index];
  constexpr uint64_t kFarOff = uint64_t{1} << 56;  // in ticks; some years
  const uint64_t now_ticks = clock_.NowNs() / kPeriodNs;
  const uint64_t ticks = TicksToMatch(timer, Counter(now_ticks * kPeriodNs));
  if (!Enabled() || !(timer.config & kInterrupt) || ticks == 0 || ticks > kFarOff) return timers_[index].Cancel();
  timers_[index].Schedule(std::max((now_ticks + ticks) * kPeriodNs, earliest_ns));
}

/// The next of its values that the counter has not passed.
void Hpet::Advance(Comparator& timer, uint64_t counter) const {
  const uint64_t mask = Mask(timer.config), period = timer.period & mask;
  if (period == 0) return;
  const uint64_t passed = (counter - timer.value) & mask;
  timer.value = (timer.value + (passed / period + 1) * period) & mask;
}

void Hpet::Fire(unsigned index, uint64_t now) {
  Comparator& timer = comparators_[index];
  const bool level = timer.config & kLevel;
  if (level) {
    status_ |= uint64_t{1} << index;
    Drive(index, true);
  } else {
    Drive(index, false);
    Drive(index, true);
    // An 8259A drops a request whose line falls before it is acknowledged: there it stays up until the next time.
    if (!ReplacesLegacy(index)) Drive(index, false);
  }
  if (timer.config & kPeriodic) Advance(timer, Counter(now));
  Schedule(index, now + kShortestPeriodNs);
}

/// Where the timer leads now.
void Hpet::Drive(unsigned index, bool level) {
  Comparator& timer = comparators_[index];
  if (!(timer.config & kInterrupt)) level = false;
  if (timer.level == level) return;
  if (ReplacesLegacy(index)) {
    wires_.isa->SetIrq(index == 0 ? layout::kPitIrq : layout::kRtcIrq, level);
  } else if (wires_.io_apic && Route(timer.config) != 0) {
    wires_.io_apic->SetIrq(Route(timer.config), level);
  } else {
    return;
  }
  timer.level = level;
}

}  // namespace ring3
