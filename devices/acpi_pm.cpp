#include "devices/acpi_pm.h"

#include <utility>

namespace ring3 {
namespace {

constexpr uint16_t kOffsetMask = 0x0F;

// PM1 status and enable registers.
constexpr uint16_t kTimerCarry = 0x0001;
constexpr uint16_t kGlobalLock = 0x0020;
constexpr uint16_t kPowerButton = 0x0100;
constexpr uint16_t kSleepButton = 0x0200;
constexpr uint16_t kRtcAlarm = 0x0400;
constexpr uint16_t kWake = 0x8000;
constexpr uint16_t kEvents = kTimerCarry | kGlobalLock | kPowerButton | kSleepButton | kRtcAlarm;
constexpr uint16_t kBusMaster = 0x0010;
constexpr uint16_t kStatusBits = kEvents | kWake | kBusMaster;
// PM1 control register.
constexpr uint16_t kSciEnable = 0x0001;        // changed only through the SMI command port
constexpr uint8_t kControlLowWritable = 0x02;  // BM_RLD
constexpr uint8_t kSleepTypeMask = 0x1C;       // of the high byte
constexpr unsigned kSleepTypeShift = 2;
constexpr uint8_t kSleepEnable = 0x20;  // of the high byte; write-only

constexpr uint64_t kCarryTicks = uint64_t{1} << (AcpiPm::kTimerBits - 1);

}  // namespace

AcpiPm::AcpiPm(Clock& clock, TimerQueue& timers, IrqLine sci, std::function<void()> power_off)
    : clock_(clock),
      sci_(sci),
      power_off_(std::move(power_off)),
      carry_timer_(timers, [this](uint64_t now) { UpdateInterrupt(now); }) {
  Reset();
}

void AcpiPm::Reset() {
  status_ = enable_ = control_ = 0;
  carries_seen_ = 0;
  timer_start_ns_ = clock_.NowNs();
  smi_command_.Reset();
  UpdateInterrupt(timer_start_ns_);
}

bool AcpiPm::AcpiEnabled() const { return (control_ & kSciEnable) != 0; }

uint64_t AcpiPm::Ticks(uint64_t now) const { return NanosecondsToTicks(now - timer_start_ns_, kTimerHertz); }

uint32_t AcpiPm::ReadPort(uint16_t port, unsigned size) {
  const uint16_t offset = port & kOffsetMask;
  if (offset >= kTimerOffset) {
    const uint64_t timer = Ticks(clock_.NowNs()) % (2 * kCarryTicks);
    return static_cast<uint32_t>(timer >> (8 * (offset - kTimerOffset)));
  }
  SyncTimerStatus(clock_.NowNs());
  uint32_t value = 0;
  for (unsigned i = 0; i < size; ++i) {
    value |= uint32_t{ReadRegisterByte(static_cast<uint16_t>(offset + i))} << (8 * i);
  }
  return value;
}

void AcpiPm::WritePort(uint16_t port, unsigned size, uint32_t value) {
  const uint64_t now = clock_.NowNs();
  SyncTimerStatus(now);
  for (unsigned i = 0; i < size; ++i) {
    WriteRegisterByte(static_cast<uint16_t>((port & kOffsetMask) + i), static_cast<uint8_t>(value >> (8 * i)));
  }
  UpdateInterrupt(now);
}

uint8_t AcpiPm::ReadRegisterByte(uint16_t offset) {
  const unsigned shift = 8 * (offset & 1u);
  switch (offset & ~1) {
    case kPm1StatusOffset:
      return static_cast<uint8_t>(status_ >> shift);
    case kPm1EnableOffset:
      return static_cast<uint8_t>(enable_ >> shift);
    case kPm1ControlOffset:
      return static_cast<uint8_t>(control_ >> shift);
    default:
      return 0;
  }
}

void AcpiPm::WriteRegisterByte(uint16_t offset, uint8_t value) {
  const unsigned shift = 8 * (offset & 1u);
  const auto bits = static_cast<uint16_t>(value << shift);
  const auto lane = static_cast<uint16_t>(0xFF << shift);
  switch (offset) {
    case kPm1StatusOffset:
    case kPm1StatusOffset + 1:
      status_ &= static_cast<uint16_t>(~(bits & kStatusBits));
      break;
    case kPm1EnableOffset:
    case kPm1EnableOffset + 1:
      enable_ = static_cast<uint16_t>((enable_ & ~lane) | (bits & kEvents));
      break;
    case kPm1ControlOffset:
      control_ = static_cast<uint16_t>((control_ & ~kControlLowWritable) | (value & kControlLowWritable));
      break;
    case kPm1ControlOffset + 1:
      WriteControlHigh(value);
      break;
    default:
      break;  // the timer is read-only
  }
}

void AcpiPm::WriteControlHigh(uint8_t value) {
  control_ = static_cast<uint16_t>((control_ & 0x00FF) | (value & kSleepTypeMask) << 8);
  if ((value & kSleepEnable) == 0) return;
  if ((value & kSleepTypeMask) >> kSleepTypeShift == kSleepTypeS5) {
    power_off_();
  } else {
    status_ |= kWake;  // no other sleep state exists: awake again at once
  }
}

void AcpiPm::EnableAcpi(bool enable) {
  control_ = static_cast<uint16_t>(enable ? control_ | kSciEnable : control_ & ~kSciEnable);
  UpdateInterrupt(clock_.NowNs());
}

void AcpiPm::PressPowerButton() {
  status_ |= kPowerButton;
  UpdateInterrupt(clock_.NowNs());
}

void AcpiPm::SyncTimerStatus(uint64_t now) {
  const uint64_t carries = Ticks(now) / kCarryTicks;
  if (carries != carries_seen_) status_ |= kTimerCarry;
  carries_seen_ = carries;
}

void AcpiPm::UpdateInterrupt(uint64_t now) {
  SyncTimerStatus(now);
  sci_.Set(AcpiEnabled() && (status_ & enable_ & kEvents) != 0);
  const bool carry_awaited = AcpiEnabled() && (enable_ & kTimerCarry) != 0 && (status_ & kTimerCarry) == 0;
  if (carry_awaited) {
    carry_timer_.Schedule(timer_start_ns_ + TicksToNanoseconds((carries_seen_ + 1) * kCarryTicks, kTimerHertz));
  } else {
    carry_timer_.Cancel();
  }
}

uint8_t AcpiPm::SmiCommandPorts::ReadByte(uint16_t port) { return (port & 1) == 0 ? command_ : status_; }

void AcpiPm::SmiCommandPorts::WriteByte(uint16_t port, uint8_t value) {
  if ((port & 1) != 0) {
    status_ = value;
    return;
  }
  command_ = value;
  if (value == kAcpiEnable) pm_.EnableAcpi(true);
  if (value == kAcpiDisable) pm_.EnableAcpi(false);
}

}  // namespace ring3
