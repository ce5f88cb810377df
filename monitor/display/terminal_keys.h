// What a terminal sends, as the keys that a PC's keyboard would have sent.
#pragma once

#include <cstdint>
#include <optional>

#include "devices/key_names.h"

namespace ring3 {

struct TerminalKey {
  uint32_t code = 0;      // a character, or one of curses' KEY_ numbers
  bool function = false;  // the latter
  bool alt = false;       // it came behind an escape
};

/// Nothing for what no key of a US keyboard makes.
std::optional<KeyChord> ChordOfTerminalKey(const TerminalKey& key);

}  // namespace ring3
