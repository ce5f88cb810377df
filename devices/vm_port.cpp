#include "devices/vm_port.h"

#include <algorithm>

namespace ring3 {
namespace {

// Registers by encoding.
constexpr unsigned kEax = 0, kEcx = 1, kEdx = 2, kEbx = 3;
constexpr uint32_t kNothing = 0xFFFFFFFF;
constexpr uint32_t kWorkstation = 4;  // the product that the version names
constexpr size_t kPacketWords = 4, kMostWords = 1024;
constexpr int kUnitsPerPixel = 64, kLastUnit = 0xFFFF;
constexpr int kMostWheel = 127;

uint32_t ButtonBits(uint8_t buttons) {
  return (buttons & Ps2Mouse::kLeft ? VmPort::kLeft : 0) | (buttons & Ps2Mouse::kRight ? VmPort::kRight : 0) |
         (buttons & Ps2Mouse::kMiddle ? VmPort::kMiddle : 0);
}

uint16_t Moved(uint16_t from, int pixels) {
  const int64_t to = from + int64_t{pixels} * kUnitsPerPixel;
  return static_cast<uint16_t>(std::clamp<int64_t>(to, 0, kLastUnit));
}

}  // namespace

void VmPort::Reset() {
  words_.clear();
  enabled_ = absolute_ = failed_ = late_ = false;
  wheel_ = 0;
}

uint32_t VmPort::ReadPort(uint16_t, unsigned size) {
  uint32_t* const registers = registers_ && size == 4 ? registers_() : nullptr;
  if (!registers || registers[kEax] != kMagic) return kNothing;
  switch (static_cast<uint16_t>(registers[kEcx])) {
    case kGetVersion:
      registers[kEbx] = kMagic;
      registers[kEcx] = kWorkstation;
      return kVersion;
    case kPointerStatus:
      return failed_ ? kPointerError : static_cast<uint32_t>(words_.size());
    case kPointerCommand:
      Command(registers[kEbx]);
      return 0;
    case kPointerData:
      GiveWords(registers);
      return registers[kEax];
    default:
      return kNothing;
  }
}

void VmPort::Command(uint32_t argument) {
  switch (argument) {
    case kEnable:
      Reset();
      enabled_ = true;
      words_.push_back(kPointerVersion);
      break;
    case kDisable:
      Reset();
      break;
    case kRelative:
      absolute_ = false;
      break;
    case kAbsolute:
      absolute_ = enabled_;
      break;
  }
}

/// As many as EBX asks for, from EAX on.
void VmPort::GiveWords(uint32_t* registers) {
  const uint32_t count = registers[kEbx];
  if (count == 0 || count > kPacketWords || count > words_.size() || failed_) {
    failed_ = true;  // the driver starts over
    registers[kEax] = kNothing;
    return;
  }
  constexpr unsigned kOrder[kPacketWords] = {kEax, kEbx, kEcx, kEdx};
  for (uint32_t i = 0; i < count; ++i) {
    registers[kOrder[i]] = words_.front();
    words_.pop_front();
  }
  if (late_) Queue();
}

bool VmPort::Point(uint16_t x, uint16_t y, int wheel, uint8_t buttons) {
  if (!absolute_) return false;
  x_ = x, y_ = y, buttons_ = buttons;
  wheel_ = std::clamp(wheel_ + wheel, -kMostWheel, kMostWheel);
  Queue();
  return true;
}

void VmPort::Move(int dx, int dy, int wheel, uint8_t buttons) {
  if (!Point(Moved(x_, dx), Moved(y_, -dy), wheel, buttons)) mouse_.Move(dx, dy, wheel, buttons);
}

void VmPort::Queue() {
  late_ = words_.size() + kPacketWords > kMostWords;
  if (late_) return;
  for (const uint32_t word : {ButtonBits(buttons_), uint32_t{x_}, uint32_t{y_}, static_cast<uint32_t>(wheel_)}) {
    words_.push_back(word);
  }
  wheel_ = 0;
  mouse_.SendEmptyPacket();
}

}  // namespace ring3
