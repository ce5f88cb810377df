#include "monitor/control/pointer_input.h"

#include <utility>

namespace ring3 {
namespace {

constexpr std::pair<std::string_view, uint8_t> kButtons[] = {{"left", Ps2Mouse::kLeft},
                                                             {"middle", Ps2Mouse::kMiddle},
                                                             {"right", Ps2Mouse::kRight},
                                                             {"side", Ps2Mouse::kFourth},
                                                             {"extra", Ps2Mouse::kFifth}};

}  // namespace

void PointerInput::PointAt(std::optional<int> x, std::optional<int> y) {
  constexpr int kUnitsPerCount = 32;
  const int old_x = std::exchange(x_, x.value_or(x_)), old_y = std::exchange(y_, y.value_or(y_));
  if (pointer_.Point(static_cast<uint16_t>(2 * x_), static_cast<uint16_t>(2 * y_), 0, buttons_)) return;
  Move(x_ / kUnitsPerCount - old_x / kUnitsPerCount, y_ / kUnitsPerCount - old_y / kUnitsPerCount, 0);
}

bool PointerInput::Button(std::string_view name, bool down) {
  if (name == "wheel-up" || name == "wheel-down") {
    if (down) Move(0, 0, name == "wheel-up" ? -1 : 1);
    return true;
  }
  for (const auto& [known, bit] : kButtons) {
    if (known != name) continue;
    SetButtons(static_cast<uint8_t>(down ? buttons_ | bit : buttons_ & ~bit));
    return true;
  }
  return false;
}

}  // namespace ring3
