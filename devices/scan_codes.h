// Keyboard scan codes: set 2 (what keyboards send) and set 1 (what PC software expects).
#pragma once

#include <cstdint>

namespace ring3 {

/// The 8042's translation of one set 2 code byte to set 1. Bytes without a translation pass unchanged.
uint8_t TranslateSet2ToSet1(uint8_t code);
/// The set 2 make code of the key whose set 1 make code is `code` (01h..7Fh).
uint8_t Set2FromSet1(uint8_t code);

}  // namespace ring3
