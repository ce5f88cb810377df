// Mouse events of the control protocols, gathered into what a pointing device reports.
#pragma once

#include <optional>
#include <string_view>

#include "devices/vm_port.h"

namespace ring3 {

class PointerInput {
 public:
  explicit PointerInput(VmPort& pointer) : pointer_(pointer) {}

  /// To the right and down, in counts; the wheel towards the user.
  void Move(int right, int down, int wheel) { pointer_.Move(right, -down, wheel, buttons_); }
  static constexpr int kLastPosition = 0x7FFF;
  /// From 0 to kLastPosition on each axis; an axis without a value stays where it is. A guest that does not want to
  /// know where gets a mouse that moves, 1024 counts from edge to edge.
  void PointAt(std::optional<int> x, std::optional<int> y);
  /// left, middle, right, side, extra, wheel-up, wheel-down. False for any other.
  bool Button(std::string_view name, bool down);
  /// Bits as in Ps2Mouse.
  void SetButtons(uint8_t buttons) {
    buttons_ = buttons;
    Move(0, 0, 0);
  }

 private:
  VmPort& pointer_;
  int x_ = kLastPosition / 2, y_ = kLastPosition / 2;
  uint8_t buttons_ = 0;
};

}  // namespace ring3
