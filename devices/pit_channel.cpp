#include "devices/pit_channel.h"

#include <algorithm>

namespace ring3 {
namespace {

// Control word and status byte, bits 5:0.
constexpr uint8_t kBcd = 0x01;
constexpr unsigned kModeShift = 1;
constexpr unsigned kAccessShift = 4;
// Status byte only.
constexpr uint8_t kStatusOutput = 0x80;
constexpr uint8_t kStatusNullCount = 0x40;

int64_t FromBcd(uint16_t value) {
  return (value >> 12) * 1000 + (value >> 8 & 0xF) * 100 + (value >> 4 & 0xF) * 10 + (value & 0xF);
}

uint16_t ToBcd(int64_t value) {
  return static_cast<uint16_t>(value / 1000 << 12 | value / 100 % 10 << 8 | value / 10 % 10 << 4 | value % 10);
}

}  // namespace

void PitChannel::WriteControl(uint8_t control, int64_t tick) {
  count_ = CurrentValue(tick);
  mode_ = control >> kModeShift & 7;
  if (mode_ > 5) mode_ -= 4;  // bit 2 of the mode is "don't care" for modes 2 and 3
  access_ = static_cast<Access>(control >> kAccessShift & 3);
  bcd_ = (control & kBcd) != 0;
  count_ = std::clamp<int64_t>(count_, 1, Modulus());
  counting_ = false;
  frozen_.reset();
  pending_.reset();
  low_written_.reset();
  read_high_next_ = false;
  latched_count_.reset();
  latched_status_.reset();
}

void PitChannel::WriteByte(uint8_t value, int64_t tick) {
  switch (access_) {
    case Access::kLow:
      LoadCount(value, tick);
      return;
    case Access::kHigh:
      LoadCount(static_cast<uint16_t>(value << 8), tick);
      return;
    case Access::kLowThenHigh:
      break;
  }
  if (!low_written_) {
    low_written_ = value;
    if (mode_ == 0) counting_ = false;  // the first byte stops the count and drops OUT
    return;
  }
  const auto written = static_cast<uint16_t>(value << 8 | *low_written_);
  low_written_.reset();
  LoadCount(written, tick);
}

void PitChannel::LoadCount(uint16_t written, int64_t tick) {
  AdoptPending(tick);
  int64_t count = bcd_ ? FromBcd(written) : written;
  if (count == 0) count = Modulus();
  if (Rate()) count = std::max<int64_t>(count, 2);  // 1 is illegal in modes 2 and 3
  if (HardwareTriggered()) {
    pending_ = count;
  } else if (Rate() && counting_) {
    pending_ = count;
    if (!frozen_) pending_at_ = BoundaryAfter(tick);
  } else {
    Start(count, tick);
    if (!gate_) frozen_ = 0;
  }
}

void PitChannel::Start(int64_t count, int64_t tick) {
  count_ = count;
  counting_ = true;
  start_ = tick + 1;  // the counter loads on the next CLK pulse
  frozen_.reset();
  pending_.reset();
}

/// The end of the current period, or in mode 3 of the current half: where a new count takes over.
int64_t PitChannel::BoundaryAfter(int64_t tick) const {
  const int64_t elapsed = Elapsed(tick);
  const int64_t period_start = start_ + elapsed / count_ * count_;
  if (mode_ == 3 && elapsed % count_ < HighTicks(count_)) return period_start + HighTicks(count_);
  return period_start + count_;
}

void PitChannel::AdoptPending(int64_t tick) {
  if (!pending_ || !Rate() || !counting_ || frozen_ || tick < pending_at_) return;
  const bool after_high_half = mode_ == 3 && (pending_at_ - start_) % count_ != 0;
  count_ = *pending_;
  start_ = after_high_half ? pending_at_ - HighTicks(count_) : pending_at_;
  pending_.reset();
}

int64_t PitChannel::Elapsed(int64_t tick) const { return frozen_ ? *frozen_ : std::max<int64_t>(0, tick - start_); }

void PitChannel::SetGate(bool high, int64_t tick) {
  if (high == gate_) return;
  AdoptPending(tick);
  gate_ = high;
  if (HardwareTriggered()) {
    if (high && (pending_ || counting_)) Start(pending_.value_or(count_), tick);
  } else if (!counting_) {
    return;
  } else if (Rate()) {
    if (high) {
      Start(pending_.value_or(count_), tick);
    } else {
      frozen_ = Elapsed(tick);
    }
  } else if (high) {
    start_ = tick - frozen_.value_or(0);
    frozen_.reset();
  } else {
    frozen_ = Elapsed(tick);
  }
}

bool PitChannel::Output(int64_t tick) {
  AdoptPending(tick);
  if (!counting_) return mode_ != 0;
  const int64_t elapsed = Elapsed(tick);
  switch (mode_) {
    case 0:
    case 1:
      return elapsed >= count_;
    case 2:
      return frozen_ || elapsed % count_ != count_ - 1;
    case 3:
      return frozen_ || elapsed % count_ < HighTicks(count_);
    default:
      return elapsed != count_;
  }
}

int64_t PitChannel::CurrentValue(int64_t tick) {
  AdoptPending(tick);
  int64_t value = count_;
  if (counting_) {
    const int64_t elapsed = Elapsed(tick);
    const int64_t phase = elapsed % count_;
    if (mode_ == 2) {
      value = count_ - phase;
    } else if (mode_ == 3) {  // counts by two, from an even number, once in each half
      value = (count_ & ~int64_t{1}) - 2 * (phase < HighTicks(count_) ? phase : phase - HighTicks(count_));
    } else {
      value = count_ - elapsed % Modulus() + Modulus();
    }
  }
  return value % Modulus();
}

uint16_t PitChannel::CurrentCount(int64_t tick) {
  const int64_t value = CurrentValue(tick);
  return bcd_ ? ToBcd(value) : static_cast<uint16_t>(value);
}

uint8_t PitChannel::Status(int64_t tick) {
  const bool output = Output(tick);
  const bool null_count = !counting_ || pending_ || (!frozen_ && tick < start_);
  return static_cast<uint8_t>((output ? kStatusOutput : 0) | (null_count ? kStatusNullCount : 0) |
                              static_cast<unsigned>(access_) << kAccessShift | mode_ << kModeShift | (bcd_ ? kBcd : 0));
}

void PitChannel::LatchCount(int64_t tick) {
  if (!latched_count_) latched_count_ = CurrentCount(tick);
}

void PitChannel::LatchStatus(int64_t tick) {
  if (!latched_status_) latched_status_ = Status(tick);
}

uint8_t PitChannel::ReadByte(int64_t tick) {
  if (latched_status_) {
    const uint8_t status = *latched_status_;
    latched_status_.reset();
    return status;
  }
  const uint16_t count = latched_count_ ? *latched_count_ : CurrentCount(tick);
  const bool high = access_ == Access::kHigh || (access_ == Access::kLowThenHigh && read_high_next_);
  if (access_ == Access::kLowThenHigh) read_high_next_ = !read_high_next_;
  if (!read_high_next_) latched_count_.reset();
  return static_cast<uint8_t>(high ? count >> 8 : count);
}

std::optional<int64_t> PitChannel::NextRise(int64_t tick) {
  AdoptPending(tick);
  if (!counting_ || frozen_) return std::nullopt;
  if (Rate()) {
    if (!pending_) return start_ + (Elapsed(tick) / count_ + 1) * count_;
    const bool after_high_half = mode_ == 3 && (pending_at_ - start_) % count_ != 0;
    return after_high_half ? pending_at_ + *pending_ - HighTicks(*pending_) : pending_at_;
  }
  const bool strobe = mode_ == 4 || mode_ == 5;  // OUT is low for the one tick at which the count expires
  const int64_t rise = start_ + count_ + (strobe ? 1 : 0);
  return rise > tick ? std::optional<int64_t>(rise) : std::nullopt;
}

}  // namespace ring3
