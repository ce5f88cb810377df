// Keys of a 102/104-key PC keyboard by QEMU's names ("ret", "ctrl", "a"), with their scan codes (set 1), and the keys
// that type a text on a US layout. Source of the codes: IBM PS/2 technical reference; Microsoft's scan code
// specification for the Windows and ACPI keys. Source of the names: QEMU's QKeyCode.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ring3 {

class Ps2Keyboard;

/// A key: its set 1 make code (01h..7Fh), prefixed by E0h or not. Pause is a key of its own kind.
struct Key {
  uint8_t set1 = 0;
  bool extended = false;
  bool pause = false;
  bool operator==(const Key&) const = default;
};

struct NamedKey {
  std::string_view name;
  Key key;
};

/// Keys that are held together, in the order in which they go down.
using KeyChord = std::vector<Key>;

/// Every name, several for some keys.
std::span<const NamedKey> AllKeys();
/// Nothing where there is no such key.
std::optional<Key> FindKey(std::string_view name);
/// The name of a key; empty for one that has none.
std::string_view NameOf(Key key);
/// QEMU's key numbers: the set 1 code, plus 80h for extended keys.
std::optional<Key> FindKeyNumber(uint32_t number);
/// "ctrl-alt-delete", "a", "0x1c-ret": keys joined by '-'. Nothing where one is unknown.
std::optional<KeyChord> ParseKeyChord(std::string_view text);

/// The keys that type one character on a US layout; tab, newline, backspace, escape and delete included.
std::optional<KeyChord> ChordOf(char character);

/// Presses or releases the key; Pause, which has no release, on pressing only.
void SendKey(Ps2Keyboard& keyboard, Key key, bool pressed);

}  // namespace ring3
