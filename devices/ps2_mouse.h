// A PS/2 mouse with the IntelliMouse extensions (wheel, fourth and fifth button).
#pragma once

#include <array>
#include <cstdint>

#include "devices/ps2_device.h"

namespace ring3 {

class Ps2Mouse final : public Ps2Device {
 public:
  /// Button bits of Move(), as in the first byte of a packet; side buttons exist in Explorer mode.
  static constexpr uint8_t kLeft = 0x01;
  static constexpr uint8_t kRight = 0x02;
  static constexpr uint8_t kMiddle = 0x04;
  static constexpr uint8_t kFourth = 0x08;
  static constexpr uint8_t kFifth = 0x10;

  /// The mouse moved (right and up are positive, wheel towards the user is positive) or `buttons` are now held.
  void Move(int dx, int dy, int wheel, uint8_t buttons);

  /// A packet that tells of nothing new, to make a driver look elsewhere.
  void SendEmptyPacket();

  void Receive(uint8_t byte) override;
  void Reset() override;

 private:
  void SetDefaults();
  void Command(uint8_t command);
  void SetSampleRate(uint8_t rate);
  void SendStatus();
  void SendPacket();
  void Report();

  uint8_t id_ = 0;
  bool reporting_ = false;
  bool remote_ = false;
  bool wrap_ = false;
  bool scaling_ = false;
  uint8_t resolution_ = 2;
  uint8_t sample_rate_ = 100;
  std::array<uint8_t, 3> last_rates_{};
  uint8_t awaiting_argument_ = 0;

  int dx_ = 0;
  int dy_ = 0;
  int wheel_ = 0;
  uint8_t buttons_ = 0;
  uint8_t reported_buttons_ = 0;
};

}  // namespace ring3
