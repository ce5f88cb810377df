#include "devices/ide/ide_drive.h"

#include <algorithm>

namespace ring3 {

void IdeDrive::GiveUp() {
  ++era_;
  wait_ = Wait::kNothing;
  position_ = block_end_ = 0;
  buffer_.clear();
}

void IdeDrive::SoftReset() {
  GiveUp();
  PutSignature();
  device_ = 0;
  error_ = 1;  // diagnostic passed
  status_ = SignatureBytes().status;
  if (wires_.interrupt) wires_.interrupt(false);
}

void IdeDrive::PutSignature() {
  features_ = {};
  count_ = low_ = {1, 0};
  mid_ = {SignatureBytes().mid, 0};
  high_ = {SignatureBytes().high, 0};
}

uint8_t IdeDrive::ReadRegister(unsigned index, bool high_order) const {
  const auto pick = [high_order](const Pair& pair) { return high_order ? pair.before : pair.now; };
  switch (index) {
    case kErrorFeatures:
      return error_;
    case kCount:
      return pick(count_);
    case kLow:
      return pick(low_);
    case kMid:
      return pick(mid_);
    case kHigh:
      return pick(high_);
    case kDevice:
      return device_ | 0xA0;
    default:
      return status_;
  }
}

void IdeDrive::WriteRegister(unsigned index, uint8_t value) {
  const auto push = [value](Pair& pair) { pair = {value, pair.now}; };
  switch (index) {
    case kErrorFeatures:
      return push(features_);
    case kCount:
      return push(count_);
    case kLow:
      return push(low_);
    case kMid:
      return push(mid_);
    case kHigh:
      return push(high_);
    case kDevice:
      device_ = value;
      return;
    default:
      return;
  }
}

void IdeDrive::WriteCommand(uint8_t command) {
  wires_.interrupt(false);
  if ((status_ & ata::kBsy) && command != ata::kDeviceReset) return;
  GiveUp();
  error_ = 0;
  Execute(command);
}

void IdeDrive::Succeed() {
  status_ = ata::kDrdy | ata::kSeekComplete;
  error_ = 0;
  Interrupt();
}

void IdeDrive::Fail(uint8_t error) {
  status_ = ata::kDrdy | ata::kSeekComplete | ata::kErr;
  error_ = error;
  Interrupt();
}

void IdeDrive::OfferBlock(size_t end, bool to_guest, bool interrupt) {
  block_end_ = std::min(end, buffer_.size());
  to_guest_ = to_guest;
  status_ = ata::kDrdy | ata::kSeekComplete | ata::kDrq;
  if (interrupt) Interrupt();
}

uint32_t IdeDrive::ReadData(unsigned size) {
  if (!(status_ & ata::kDrq) || !to_guest_) return 0;
  uint32_t value = 0;
  for (unsigned i = 0; i < size && position_ < block_end_; ++i) value |= uint32_t{buffer_[position_++]} << (8 * i);
  if (position_ == block_end_) {
    status_ &= static_cast<uint8_t>(~ata::kDrq);
    BlockDone();
  }
  return value;
}

void IdeDrive::WriteData(unsigned size, uint32_t value) {
  if (!(status_ & ata::kDrq) || to_guest_) return;
  for (unsigned i = 0; i < size && position_ < block_end_; ++i) {
    buffer_[position_++] = static_cast<uint8_t>(value >> (8 * i));
  }
  if (position_ == block_end_) {
    status_ &= static_cast<uint8_t>(~ata::kDrq);
    BlockDone();
  }
}

void IdeDrive::WaitForDma(Wait wait) {
  wait_ = wait;
  status_ = ata::kBsy | ata::kSeekComplete;
  BusMasterStarted();
}

void IdeDrive::BusMasterStarted() {
  const bool ready = wait_ == Wait::kToMemory     ? BusMaster().ReadyToMemory()
                     : wait_ == Wait::kFromMemory ? BusMaster().ReadyFromMemory()
                                                  : false;
  if (!ready) return;
  wait_ = Wait::kNothing;
  DmaReady();
}

void StoreIdentifyText(std::span<uint8_t> data, unsigned word, unsigned words, const std::string& text) {
  for (unsigned i = 0; i < 2 * words; ++i) {
    data[2 * word + (i ^ 1)] = i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{' '};
  }
}

void StoreIdentifyWord(std::span<uint8_t> data, unsigned word, unsigned value) {
  data[2 * word] = static_cast<uint8_t>(value);
  data[2 * word + 1] = static_cast<uint8_t>(value >> 8);
}

void SealIdentify(std::span<uint8_t> data) {
  data[510] = 0xA5;
  unsigned sum = 0;
  for (unsigned i = 0; i < 511; ++i) sum += data[i];
  data[511] = static_cast<uint8_t>(-sum);
}

}  // namespace ring3
