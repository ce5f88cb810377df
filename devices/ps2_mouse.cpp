#include "devices/ps2_mouse.h"

#include <algorithm>

namespace ring3 {
namespace {

constexpr uint8_t kScaling1To1 = 0xE6;
constexpr uint8_t kScaling2To1 = 0xE7;
constexpr uint8_t kSetResolution = 0xE8;
constexpr uint8_t kStatusRequest = 0xE9;
constexpr uint8_t kStreamMode = 0xEA;
constexpr uint8_t kReadData = 0xEB;
constexpr uint8_t kResetWrapMode = 0xEC;
constexpr uint8_t kWrapMode = 0xEE;
constexpr uint8_t kRemoteMode = 0xF0;
constexpr uint8_t kIdentify = 0xF2;
constexpr uint8_t kSampleRate = 0xF3;
constexpr uint8_t kEnable = 0xF4;
constexpr uint8_t kDisable = 0xF5;
constexpr uint8_t kDefaults = 0xF6;
constexpr uint8_t kResendCommand = 0xFE;
constexpr uint8_t kResetCommand = 0xFF;

// First packet byte beside the buttons.
constexpr uint8_t kAlwaysOne = 0x08;
constexpr uint8_t kXSign = 0x10;
constexpr uint8_t kYSign = 0x20;
constexpr uint8_t kPacketButtons = 0x07;
// Status byte.
constexpr uint8_t kStatusScaling = 0x10;
constexpr uint8_t kStatusEnabled = 0x20;
constexpr uint8_t kStatusRemote = 0x40;

constexpr uint8_t kIdWheel = 3;
constexpr uint8_t kIdExplorer = 4;
constexpr std::array<uint8_t, 3> kWheelKnock = {200, 100, 80};
constexpr std::array<uint8_t, 3> kExplorerKnock = {200, 200, 80};

constexpr int kMaxStep = 255;
constexpr int kMaxWheelStep = 7;
constexpr size_t kMaxQueued = 16;

}  // namespace

void Ps2Mouse::SetDefaults() {
  reporting_ = remote_ = wrap_ = scaling_ = false;
  resolution_ = 2;
  sample_rate_ = 100;
  awaiting_argument_ = 0;
  dx_ = dy_ = wheel_ = 0;
}

void Ps2Mouse::Reset() {
  DropOutput();
  SetDefaults();
  id_ = 0;
  last_rates_ = {};
}

void Ps2Mouse::Move(int dx, int dy, int wheel, uint8_t buttons) {
  dx_ += dx;
  dy_ += dy;
  wheel_ += wheel;
  buttons_ = buttons;
  if (reporting_ && !remote_) Report();
}

void Ps2Mouse::SendEmptyPacket() {
  if (reporting_ && !remote_ && Queued() < kMaxQueued) SendPacket();
}

/// Sends packets until all motion is told or the queue is full; the rest goes with the next report.
void Ps2Mouse::Report() {
  while ((dx_ != 0 || dy_ != 0 || (wheel_ != 0 && id_ != 0) || buttons_ != reported_buttons_) &&
         Queued() < kMaxQueued) {
    SendPacket();
  }
}

void Ps2Mouse::SendPacket() {
  const int dx = std::clamp(dx_, -kMaxStep - 1, kMaxStep);
  const int dy = std::clamp(dy_, -kMaxStep - 1, kMaxStep);
  const int wheel = std::clamp(wheel_, -kMaxWheelStep - 1, kMaxWheelStep);
  dx_ -= dx;
  dy_ -= dy;
  wheel_ -= wheel;
  reported_buttons_ = buttons_;
  const auto first =
      static_cast<uint8_t>((buttons_ & kPacketButtons) | kAlwaysOne | (dx < 0 ? kXSign : 0) | (dy < 0 ? kYSign : 0));
  Send({first, static_cast<uint8_t>(dx), static_cast<uint8_t>(dy)});
  if (id_ == kIdWheel) Send({static_cast<uint8_t>(wheel)});
  if (id_ == kIdExplorer) {
    Send({static_cast<uint8_t>((wheel & 0x0F) | (buttons_ & (kFourth | kFifth)) << 1)});
  }
}

void Ps2Mouse::SendStatus() {
  // Here, unlike in packets, the right button is bit 0 and the left one bit 2.
  uint8_t status = static_cast<uint8_t>((buttons_ & kLeft) != 0 ? 4 : 0) | ((buttons_ & kMiddle) != 0 ? 2 : 0) |
                   ((buttons_ & kRight) != 0 ? 1 : 0);
  if (scaling_) status |= kStatusScaling;
  if (reporting_) status |= kStatusEnabled;
  if (remote_) status |= kStatusRemote;
  Send({kAcknowledge, status, resolution_, sample_rate_});
}

void Ps2Mouse::SetSampleRate(uint8_t rate) {
  sample_rate_ = rate;
  last_rates_ = {last_rates_[1], last_rates_[2], rate};
  if (last_rates_ == kWheelKnock) id_ = kIdWheel;
  if (last_rates_ == kExplorerKnock && id_ == kIdWheel) id_ = kIdExplorer;
}

void Ps2Mouse::Receive(uint8_t byte) {
  if (wrap_ && byte != kResetCommand && byte != kResetWrapMode) {
    Send({byte});
    return;
  }
  if (awaiting_argument_ == 0) {
    Command(byte);
    return;
  }
  if (awaiting_argument_ == kSampleRate) {
    SetSampleRate(byte);
  } else {
    resolution_ = byte & 3;
  }
  awaiting_argument_ = 0;
  Send({kAcknowledge});
}

void Ps2Mouse::Command(uint8_t command) {
  if (command != kResendCommand) DropOutput();
  switch (command) {
    case kScaling1To1:
      scaling_ = false;
      break;
    case kScaling2To1:
      scaling_ = true;
      break;
    case kSetResolution:
    case kSampleRate:
      awaiting_argument_ = command;
      break;
    case kStatusRequest:
      SendStatus();
      return;
    case kStreamMode:
      remote_ = false;
      break;
    case kReadData:
      Send({kAcknowledge});
      SendPacket();
      return;
    case kResetWrapMode:
      wrap_ = false;
      break;
    case kWrapMode:
      wrap_ = true;
      break;
    case kRemoteMode:
      remote_ = true;
      break;
    case kIdentify:
      Send({kAcknowledge, id_});
      return;
    case kEnable:
      reporting_ = true;
      break;
    case kDisable:
      reporting_ = false;
      break;
    case kDefaults:
      SetDefaults();
      break;
    case kResendCommand:
      ResendLast();
      return;
    case kResetCommand:
      Reset();
      Send({kAcknowledge, kSelfTestPassed, id_});
      return;
    default:
      Send({kResend});
      return;
  }
  Send({kAcknowledge});
}

}  // namespace ring3
