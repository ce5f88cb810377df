// USB keyboard usages (USB HID Usage Tables, page 7), as SDL numbers keys by their place, to keys.
#pragma once

#include <cstdint>
#include <optional>

#include "devices/key_names.h"

namespace ring3 {

std::optional<Key> KeyOfUsbUsage(uint32_t usage);

}  // namespace ring3
