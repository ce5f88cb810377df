#include "devices/local_apic.h"

#include <algorithm>
#include <bit>

namespace ring3 {
namespace {

// Registers: address / 16.
enum Register : unsigned {
  kId = 0x02,
  kVersion = 0x03,
  kTaskPriority = 0x08,
  kArbitrationPriority = 0x09,
  kProcessorPriority = 0x0A,
  kEndOfInterrupt = 0x0B,
  kRemoteRead = 0x0C,
  kLogicalDestination = 0x0D,
  kDestinationFormat = 0x0E,
  kSpurious = 0x0F,
  kInService = 0x10,
  kTriggerMode = 0x18,
  kRequest = 0x20,
  kErrorStatus = 0x28,
  kCommandLow = 0x30,
  kCommandHigh = 0x31,
  kLvtTimer = 0x32,
  kLvtError = 0x37,
  kInitialCount = 0x38,
  kCurrentCount = 0x39,
  kDivide = 0x3E
};

constexpr uint32_t kVersionValue = 0x00050014;  // six local vector entries, an integrated xAPIC
constexpr unsigned kVectorWords = 8;

constexpr uint32_t kIdWritable = 0xFF000000;
constexpr unsigned kIdShift = 24;
constexpr uint32_t kFormatReserved = 0x0FFFFFFF;  // read as ones
constexpr uint32_t kFlatModel = 0xF;
constexpr unsigned kFormatShift = 28;
constexpr uint32_t kSpuriousReset = 0xFF, kSoftwareEnable = 0x100, kSpuriousWritable = 0x3FF;
constexpr uint8_t kPriorityClass = 0xF0;
constexpr uint8_t kFirstLegalVector = 16;
constexpr uint8_t kBroadcast = 0xFF;

// Local vector table.
constexpr uint32_t kVector = 0xFF, kDelivery = 0x700, kMasked = 0x10000, kPeriodic = 0x20000;
constexpr uint32_t kFixed = 0x000, kExternal = 0x700;
constexpr std::array<uint32_t, 6> kLvtWritable = {kVector | kMasked | kPeriodic,
                                                  kVector | kDelivery | kMasked,
                                                  kVector | kDelivery | kMasked,
                                                  0x1A7FF & ~0x1000u,
                                                  0x1A7FF & ~0x1000u,
                                                  kVector | kMasked};

// Interrupt command.
constexpr uint32_t kCommandLowWritable = 0x000CCFFF, kCommandLogical = 0x800;
constexpr unsigned kShorthandShift = 18;
enum Shorthand : uint32_t { kDestination, kSelf, kAll, kAllButSelf };
constexpr uint32_t kLowestPriority = 0x100;

// Error status.
constexpr uint32_t kSendIllegalVector = 0x20, kReceiveIllegalVector = 0x40, kIllegalRegister = 0x80;

/// A shorter period would leave the guest no time to run.
constexpr uint64_t kShortestPeriodNs = 20'000;

}  // namespace

LocalApic::LocalApic(Clock& clock, TimerQueue& timers, Events events)
    : clock_(clock), events_(std::move(events)), timer_(timers, [this](uint64_t now) { TimerExpired(now); }) {
  Reset();
}

void LocalApic::Reset() {
  irr_ = isr_ = tmr_ = {};
  lvt_.fill(kMasked);
  lvt_[kLint0] = kExternal;
  id_ = task_priority_ = logical_ = 0;
  format_ = ~uint32_t{0};
  spurious_ = kSpuriousReset;
  errors_ = errors_seen_ = command_low_ = command_high_ = 0;
  initial_count_ = divide_ = 0;
  timer_.Cancel();
  events_.changed();
}

void LocalApic::Set(Vectors& vectors, uint8_t vector, bool value) {
  const uint32_t bit = 1u << vector % 32;
  vectors[vector / 32] = value ? vectors[vector / 32] | bit : vectors[vector / 32] & ~bit;
}

std::optional<uint8_t> LocalApic::Highest(const Vectors& vectors) {
  for (unsigned word = kVectorWords; word-- > 0;) {
    if (vectors[word] != 0)
      return static_cast<uint8_t>(word * 32 + 31 - static_cast<unsigned>(std::countl_zero(vectors[word])));
  }
  return std::nullopt;
}

bool LocalApic::SoftwareEnabled() const { return (spurious_ & kSoftwareEnable) != 0; }

/// The processor priority: the task's or that of the interrupt in service, whichever has the higher class.
uint8_t LocalApic::Priority() const {
  const std::optional<uint8_t> served = Highest(isr_);
  const auto task = static_cast<uint8_t>(task_priority_);
  if (!served || (task & kPriorityClass) >= (*served & kPriorityClass)) return task;
  return *served & kPriorityClass;
}

std::optional<uint8_t> LocalApic::BestVector() const {
  if (!SoftwareEnabled()) return std::nullopt;
  const std::optional<uint8_t> best = Highest(irr_);
  if (!best || (*best & kPriorityClass) <= (Priority() & kPriorityClass)) return std::nullopt;
  return best;
}

bool LocalApic::ExternalWaits() const { return external_ && (lvt_[kLint0] & (kMasked | kDelivery)) == kExternal; }

std::optional<uint8_t> LocalApic::Acknowledge() {
  const std::optional<uint8_t> best = BestVector();
  if (!best) return ExternalWaits() ? std::nullopt : std::optional(static_cast<uint8_t>(spurious_));
  Set(irr_, *best, false);
  Set(isr_, *best, true);
  events_.changed();
  return best;
}

void LocalApic::SetExternal(bool asserted) {
  external_ = asserted;
  events_.changed();
}

void LocalApic::Deliver(uint8_t vector, bool level) {
  if (!SoftwareEnabled()) return;
  if (vector < kFirstLegalVector) return ReportError(kReceiveIllegalVector);
  Set(irr_, vector, true);
  Set(tmr_, vector, level);
  events_.changed();
}

bool LocalApic::Accepts(uint8_t destination, bool logical) const {
  if (!logical) return destination == kBroadcast || destination == id_ >> kIdShift;
  const auto mine = static_cast<uint8_t>(logical_ >> kIdShift);
  if (format_ >> kFormatShift == kFlatModel) return (mine & destination) != 0;
  constexpr uint8_t kCluster = 0xF0, kMember = 0x0F;
  const bool cluster = destination >> 4 == 0xF || (destination & kCluster) == (mine & kCluster);
  return cluster && (destination & mine & kMember) != 0;
}

void LocalApic::ReportError(uint32_t error) {
  errors_ |= error;
  Raise(kError);
}

/// One of the APIC's own interrupts.
void LocalApic::Raise(Lvt entry) {
  if ((lvt_[entry] & kMasked) != 0) return;
  const auto vector = static_cast<uint8_t>(lvt_[entry] & kVector);
  if (vector < kFirstLegalVector && entry == kError) return;
  Deliver(vector, false);
}

void LocalApic::EndInterrupt() {
  const std::optional<uint8_t> served = Highest(isr_);
  if (!served) return;
  Set(isr_, *served, false);
  if (Test(tmr_, *served)) events_.level_ended(*served);
  events_.changed();
}

/// There are no other processors: what is meant for them, and INIT and start-up messages, go nowhere.
void LocalApic::SendMessage() {
  const uint32_t delivery = command_low_ & kDelivery;
  if (delivery != kFixed && delivery != kLowestPriority) return;
  const auto vector = static_cast<uint8_t>(command_low_ & kVector);
  if (vector < kFirstLegalVector) return ReportError(kSendIllegalVector);
  switch (command_low_ >> kShorthandShift & 3) {
    case kDestination:
      if (!Accepts(static_cast<uint8_t>(command_high_ >> kIdShift), (command_low_ & kCommandLogical) != 0)) return;
      break;
    case kAllButSelf:
      return;
    default:
      break;
  }
  Deliver(vector, false);
}

uint64_t LocalApic::ReadMmio(GuestPhysical address, unsigned) {
  if (address.value % 16 >= 4) return 0;
  return uint64_t{ReadRegister(static_cast<unsigned>(address.PageOffset() / 16))} >> (8 * (address.value % 4));
}

uint32_t LocalApic::ReadRegister(unsigned number) const {
  if (number >= kInService && number < kInService + kVectorWords) return isr_[number - kInService];
  if (number >= kTriggerMode && number < kTriggerMode + kVectorWords) return tmr_[number - kTriggerMode];
  if (number >= kRequest && number < kRequest + kVectorWords) return irr_[number - kRequest];
  if (number >= kLvtTimer && number <= kLvtError) return lvt_[number - kLvtTimer];
  switch (number) {
    case kId:
      return id_;
    case kVersion:
      return kVersionValue;
    case kTaskPriority:
      return task_priority_;
    case kArbitrationPriority:
    case kProcessorPriority:
      return Priority();
    case kLogicalDestination:
      return logical_;
    case kDestinationFormat:
      return format_;
    case kSpurious:
      return spurious_;
    case kErrorStatus:
      return errors_seen_;
    case kCommandLow:
      return command_low_;
    case kCommandHigh:
      return command_high_;
    case kInitialCount:
      return initial_count_;
    case kCurrentCount:
      return CurrentCount();
    case kDivide:
      return divide_;
    default:
      return 0;
  }
}

/// Registers are written as whole dwords.
void LocalApic::WriteMmio(GuestPhysical address, unsigned size, uint64_t value) {
  if (address.value % 16 == 0 && size >= 4) {
    WriteRegister(static_cast<unsigned>(address.PageOffset() / 16), static_cast<uint32_t>(value));
  }
}

void LocalApic::WriteRegister(unsigned number, uint32_t value) {
  if (number >= kLvtTimer && number <= kLvtError) return WriteLvt(static_cast<Lvt>(number - kLvtTimer), value);
  switch (number) {
    case kId:
      id_ = value & kIdWritable;
      return;
    case kTaskPriority:
      task_priority_ = value & 0xFF;
      return events_.changed();
    case kEndOfInterrupt:
      return EndInterrupt();
    case kLogicalDestination:
      logical_ = value & kIdWritable;
      return;
    case kDestinationFormat:
      format_ = value | kFormatReserved;
      return;
    case kSpurious:
      return WriteSpurious(value);
    case kErrorStatus:
      errors_seen_ = errors_;
      errors_ = 0;
      return;
    case kCommandLow:
      command_low_ = value & kCommandLowWritable;
      return SendMessage();
    case kCommandHigh:
      command_high_ = value & kIdWritable;
      return;
    case kInitialCount:
      return StartTimer(value);
    case kDivide:
      divide_ = value & 0xB;
      return ScheduleTimer(clock_.NowNs());
    case kVersion:
    case kArbitrationPriority:
    case kProcessorPriority:
    case kRemoteRead:
    case kCurrentCount:
      return;
    default:
      return ReportError(kIllegalRegister);
  }
}

/// While the APIC is switched off by software, its entries stay masked.
void LocalApic::WriteLvt(Lvt entry, uint32_t value) {
  lvt_[entry] = (value & kLvtWritable[entry]) | (SoftwareEnabled() ? 0 : kMasked);
  if (entry == kTimer) ScheduleTimer(clock_.NowNs());
  events_.changed();
}

void LocalApic::WriteSpurious(uint32_t value) {
  spurious_ = value & kSpuriousWritable;
  if ((value & kSoftwareEnable) == 0) {
    for (uint32_t& entry : lvt_) entry |= kMasked;
    timer_.Cancel();
  }
  events_.changed();
}

unsigned LocalApic::Divisor() const {
  const unsigned shift = (divide_ & 3) | (divide_ >> 1 & 4);
  return 1u << ((shift + 1) & 7);
}

uint32_t LocalApic::CurrentCount() const {
  if (initial_count_ == 0) return 0;
  const uint64_t ticks = (clock_.NowNs() - timer_start_) / Divisor();
  if ((lvt_[kTimer] & kPeriodic) != 0) return static_cast<uint32_t>(initial_count_ - ticks % initial_count_);
  return ticks >= initial_count_ ? 0 : static_cast<uint32_t>(initial_count_ - ticks);
}

void LocalApic::StartTimer(uint32_t initial) {
  initial_count_ = initial;
  timer_start_ = clock_.NowNs();
  ScheduleTimer(timer_start_);
}

/// The next time that the count reaches zero after `now`.
void LocalApic::ScheduleTimer(uint64_t now) {
  const uint64_t period = uint64_t{initial_count_} * Divisor();
  if (period == 0 || (lvt_[kTimer] & kMasked) != 0) return timer_.Cancel();
  if ((lvt_[kTimer] & kPeriodic) != 0) {
    const uint64_t next = timer_start_ + ((now - timer_start_) / period + 1) * period;
    timer_.Schedule(period < kShortestPeriodNs ? std::max(next, now + kShortestPeriodNs) : next);
  } else if (timer_start_ + period > now) {
    timer_.Schedule(timer_start_ + period);
  } else {
    timer_.Cancel();  // it has expired already
  }
}

/// Periods that the host was late for are one interrupt.
void LocalApic::TimerExpired(uint64_t now) {
  ScheduleTimer(now);
  Raise(kTimer);
}

}  // namespace ring3
