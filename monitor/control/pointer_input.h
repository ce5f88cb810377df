// Mouse events of the control protocols, gathered into what the PS/2 mouse reports.
#pragma once

#include <string_view>

#include "devices/ps2_mouse.h"

namespace ring3 {

class PointerInput {
 public:
  explicit PointerInput(Ps2Mouse& mouse) : mouse_(mouse) {}

  /// To the right and down, in counts; the wheel towards the user.
  void Move(int right, int down, int wheel) { mouse_.Move(right, -down, wheel, buttons_); }
  /// left, middle, right, side, extra, wheel-up, wheel-down. False for any other.
  bool Button(std::string_view name, bool down);
  /// Bits as in Ps2Mouse.
  void SetButtons(uint8_t buttons) {
    buttons_ = buttons;
    Move(0, 0, 0);
  }

 private:
  Ps2Mouse& mouse_;
  uint8_t buttons_ = 0;
};

}  // namespace ring3
