// The x and xp commands of the human monitor: guest memory as numbers, characters or instructions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "monitor/control/machine_control.h"

namespace ring3::qmp {

/// "/8xw", "/5i", "/s": how many of what, in which size.
struct DumpFormat {
  static constexpr unsigned kMostItems = 4096;

  unsigned count = 1, bytes = 4;
  char kind = 'x';  // x d u o c i

  /// Throws ControlError.
  static DumpFormat Parse(std::string_view text);
};

/// "0x1000", "$eip + 4", "16 - 4": numbers and registers joined by + and -. Throws ControlError.
uint64_t Evaluate(std::string_view expression, const CpuState& state);

std::string DumpMemory(MachineControl& control, const DumpFormat& format, uint64_t address, bool physical);

}  // namespace ring3::qmp
