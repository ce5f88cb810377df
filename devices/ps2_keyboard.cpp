#include "devices/ps2_keyboard.h"

#include "devices/scan_codes.h"

namespace ring3 {
namespace {

constexpr size_t kBufferSize = 16;  // key codes; answers to commands always find room

constexpr uint8_t kSetLeds = 0xED;
constexpr uint8_t kEcho = 0xEE;
constexpr uint8_t kScanCodeSet = 0xF0;
constexpr uint8_t kIdentify = 0xF2;
constexpr uint8_t kTypematic = 0xF3;
constexpr uint8_t kEnable = 0xF4;
constexpr uint8_t kDisable = 0xF5;
constexpr uint8_t kDefaults = 0xF6;
constexpr uint8_t kAllKeysFirst = 0xF7;  // F7..FA: key types of scan code set 3, for all keys
constexpr uint8_t kAllKeysLast = 0xFA;
constexpr uint8_t kOneKeyFirst = 0xFB;  // FB..FD: the same for one key
constexpr uint8_t kOneKeyLast = 0xFD;
constexpr uint8_t kResendCommand = 0xFE;
constexpr uint8_t kResetCommand = 0xFF;

constexpr uint8_t kIdFirst = 0xAB;
constexpr uint8_t kIdSecond = 0x83;
constexpr uint8_t kExtendedPrefix = 0xE0;
constexpr uint8_t kPausePrefix = 0xE1;
constexpr uint8_t kSet2Break = 0xF0;
constexpr uint8_t kSet1Break = 0x80;
constexpr uint8_t kLedBits = 0x07;

}  // namespace

void Ps2Keyboard::SetDefaults() {
  scan_set_ = 2;
  awaiting_argument_ = 0;
}

void Ps2Keyboard::Reset() {
  DropOutput();
  SetDefaults();
  leds_ = 0;
  scanning_ = true;
}

bool Ps2Keyboard::Accepts(size_t bytes) const { return scanning_ && Queued() + bytes <= kBufferSize; }

void Ps2Keyboard::Key(uint8_t set1_code, bool extended, bool pressed) {
  const bool two_byte_break = scan_set_ == 2 && !pressed;
  if (!Accepts(1 + (extended ? 1 : 0) + (two_byte_break ? 1 : 0))) return;
  if (extended) Send({kExtendedPrefix});
  if (scan_set_ == 1) {
    Send({static_cast<uint8_t>(set1_code | (pressed ? 0 : kSet1Break))});
    return;
  }
  if (!pressed) Send({kSet2Break});
  Send({Set2FromSet1(set1_code)});
}

void Ps2Keyboard::PauseKey() {
  if (scan_set_ == 1) {
    if (Accepts(6)) Send({kPausePrefix, 0x1D, 0x45, kPausePrefix, 0x9D, 0xC5});
  } else if (Accepts(8)) {
    Send({kPausePrefix, 0x14, 0x77, kPausePrefix, kSet2Break, 0x14, kSet2Break, 0x77});
  }
}

void Ps2Keyboard::Receive(uint8_t byte) {
  if (awaiting_argument_ != 0 && byte < kSetLeds) {
    const uint8_t command = awaiting_argument_;
    awaiting_argument_ = 0;
    Argument(command, byte);
  } else {
    awaiting_argument_ = 0;
    Command(byte);
  }
}

void Ps2Keyboard::Command(uint8_t command) {
  if (command != kResendCommand) DropOutput();  // a command overtakes whatever was waiting to be sent
  switch (command) {
    case kEcho:
      Send({kEcho});
      return;
    case kResendCommand:
      ResendLast();
      return;
    case kIdentify:
      Send({kAcknowledge, kIdFirst, kIdSecond});
      return;
    case kResetCommand:
      Reset();
      Send({kAcknowledge, kSelfTestPassed});
      return;
    case kSetLeds:
    case kScanCodeSet:
    case kTypematic:
      awaiting_argument_ = command;
      break;
    case kEnable:
      scanning_ = true;
      break;
    case kDisable:
      SetDefaults();
      scanning_ = false;
      break;
    case kDefaults:
      SetDefaults();
      break;
    default:
      if (command >= kAllKeysFirst && command <= kAllKeysLast) break;
      if (command < kOneKeyFirst || command > kOneKeyLast) {
        Send({kResend});
        return;
      }
      awaiting_argument_ = command;
      break;
  }
  Send({kAcknowledge});
}

void Ps2Keyboard::Argument(uint8_t command, uint8_t argument) {
  if (command == kScanCodeSet && argument == 0) {
    Send({kAcknowledge, scan_set_});
    return;
  }
  if (command == kSetLeds) leds_ = argument & kLedBits;
  // Set 3 is not offered: the query then tells the host so. Typematic repeat is the host keyboard's business.
  if (command == kScanCodeSet && (argument == 1 || argument == 2)) scan_set_ = argument;
  Send({kAcknowledge});
}

}  // namespace ring3
