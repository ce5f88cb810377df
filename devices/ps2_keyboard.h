// An enhanced (MF-II) keyboard on a PS/2 port, with scan code sets 1 and 2.
#pragma once

#include <cstdint>

#include "devices/ps2_device.h"

namespace ring3 {

class Ps2Keyboard final : public Ps2Device {
 public:
  /// A key goes down or up. `set1_code` is its set 1 make code (01h..7Fh); `extended` ones are prefixed by E0h. Dropped
  /// while the host has scanning disabled or the keyboard's buffer is full.
  void Key(uint8_t set1_code, bool extended, bool pressed);
  /// The Pause key, which has no break code.
  void PauseKey();
  /// Bit 0 Scroll Lock, bit 1 Num Lock, bit 2 Caps Lock.
  uint8_t Leds() const { return leds_; }

  void Receive(uint8_t byte) override;
  void Reset() override;

 private:
  void SetDefaults();
  void Command(uint8_t command);
  void Argument(uint8_t command, uint8_t argument);
  bool Accepts(size_t bytes) const;

  uint8_t leds_ = 0;
  uint8_t scan_set_ = 2;
  bool scanning_ = true;
  uint8_t awaiting_argument_ = 0;  // the command that still wants its second byte
};

}  // namespace ring3
