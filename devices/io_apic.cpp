#include "devices/io_apic.h"

#include "devices/local_apic.h"

namespace ring3 {
namespace {

constexpr uint64_t kWindow = 0x10;  // the other address selects the register that it shows
constexpr uint8_t kIdRegister = 0, kVersionRegister = 1, kArbitrationRegister = 2, kFirstEntry = 0x10;
constexpr uint32_t kVersion = 0x11 | (IoApic::kPins - 1) << 16;
constexpr uint32_t kIdWritable = 0x0F000000;
constexpr unsigned kIdShift = 24;

// A redirection entry.
constexpr uint64_t kVector = 0xFF, kDelivery = 0x700, kLowestPriority = 0x100, kLogical = 0x800, kRemoteIrr = 0x4000,
                   kLevel = 0x8000, kMasked = 0x10000;
constexpr unsigned kDestinationShift = 56;
constexpr uint64_t kWritableLow = 0x1AFFF;  // all but delivery status and remote IRR
constexpr uint64_t kWritableHigh = 0xFF000000;

}  // namespace

void IoApic::Reset() {
  selected_ = 0;
  id_ = uint32_t{kId} << kIdShift;
  entries_.fill(kMasked);
}

uint64_t IoApic::ReadMmio(GuestPhysical address, unsigned) {
  switch (address.value & (kBytes - 1)) {
    case 0:
      return selected_;
    case kWindow:
      return ReadRegister();
    default:
      return 0;
  }
}

void IoApic::WriteMmio(GuestPhysical address, unsigned size, uint64_t value) {
  const uint64_t offset = address.value & (kBytes - 1);
  if (offset == 0) selected_ = static_cast<uint8_t>(value);
  if (offset == kWindow && size >= 4) WriteRegister(static_cast<uint32_t>(value));
}

uint32_t IoApic::ReadRegister() const {
  switch (selected_) {
    case kIdRegister:
    case kArbitrationRegister:
      return id_;
    case kVersionRegister:
      return kVersion;
    default:
      break;
  }
  const unsigned index = (selected_ - kFirstEntry) / 2u;
  if (selected_ < kFirstEntry || index >= kPins) return 0;
  return static_cast<uint32_t>(selected_ % 2 == 0 ? entries_[index] : entries_[index] >> 32);
}

void IoApic::WriteRegister(uint32_t value) {
  if (selected_ == kIdRegister) id_ = value & kIdWritable;
  const unsigned index = (selected_ - kFirstEntry) / 2u;
  if (selected_ >= kFirstEntry && index < kPins) WriteEntry(index, selected_ % 2 != 0, value);
}

void IoApic::WriteEntry(unsigned index, bool high, uint32_t value) {
  uint64_t& entry = entries_[index];
  if (high) {
    entry = (entry & 0xFFFFFFFF) | (value & kWritableHigh) << 32;
  } else {
    entry = (entry & ~kWritableLow) | (value & kWritableLow);
    if ((entry & kLevel) == 0) entry &= ~kRemoteIrr;  // by this software clears it
  }
  ServeLevel(index);
}

/// True when somebody took it.
bool IoApic::Send(unsigned pin) {
  const uint64_t entry = entries_[pin];
  if ((entry & kDelivery & ~kLowestPriority) != 0) return false;
  if (!target_.Accepts(static_cast<uint8_t>(entry >> kDestinationShift), (entry & kLogical) != 0)) return false;
  target_.Deliver(static_cast<uint8_t>(entry & kVector), (entry & kLevel) != 0);
  return true;
}

void IoApic::ServeLevel(unsigned pin) {
  uint64_t& entry = entries_[pin];
  if ((inputs_ >> pin & 1) == 0 || (entry & (kLevel | kMasked | kRemoteIrr)) != kLevel) return;
  if (Send(pin)) entry |= kRemoteIrr;
}

/// An edge while the input is masked is lost, as the data sheet says.
void IoApic::SetIrq(unsigned pin, bool level) {
  const uint32_t bit = 1u << pin;
  const bool rises = level && (inputs_ & bit) == 0;
  inputs_ = level ? inputs_ | bit : inputs_ & ~bit;
  if (rises && (entries_[pin] & (kLevel | kMasked)) == 0) Send(pin);
  ServeLevel(pin);
}

IrqState IoApic::GetIrqState(unsigned pin) const {
  const uint64_t entry = entries_[pin];
  if ((entry & kMasked) != 0) return IrqState::kMasked;
  return target_.IsPending(static_cast<uint8_t>(entry & kVector)) ? IrqState::kPending : IrqState::kIdle;
}

void IoApic::EndInterrupt(uint8_t vector) {
  for (unsigned pin = 0; pin < kPins; ++pin) {
    uint64_t& entry = entries_[pin];
    if ((entry & (kVector | kRemoteIrr)) != (vector | kRemoteIrr)) continue;
    entry &= ~kRemoteIrr;
    ServeLevel(pin);
  }
}

}  // namespace ring3
