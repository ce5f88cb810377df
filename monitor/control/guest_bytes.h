// Guest memory as a debugger reads and writes it: by linear addresses, which the guest's tables translate without
// rights being checked or bits being set, or by physical ones. Devices are not touched.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "monitor/control/machine_control.h"

namespace ring3 {

/// How many bytes from the first on were moved: up to what is not mapped, or neither RAM nor ROM.
size_t ReadGuest(MachineControl& control, uint64_t address, bool physical, std::span<uint8_t> out);
/// The same, RAM only.
size_t WriteGuest(MachineControl& control, uint64_t address, bool physical, std::span<const uint8_t> data);

}  // namespace ring3
