// X11 keysyms (RFC 6143, 7.5.4; X11's keysymdef.h), as VNC clients send them, to keys.
#pragma once

#include <cstdint>
#include <optional>

#include "devices/key_names.h"

namespace ring3 {

struct KeysymKey {
  Key key;
  /// For characters: whether the US layout needs Shift for it. Letters depend on Caps Lock, too.
  bool character = false, shifted = false, letter = false;
};

std::optional<KeysymKey> KeyOfKeysym(uint32_t keysym);

}  // namespace ring3
