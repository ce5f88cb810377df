#include "devices/key_names.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "devices/ps2_keyboard.h"

namespace ring3 {
namespace {

constexpr uint32_t kExtendedNumber = 0x80;

constexpr Key Plain(uint8_t code) { return {code, false, false}; }
constexpr Key Extended(uint8_t code) { return {code, true, false}; }
constexpr Key kPauseKey{0x45, true, true};

// Where a key has two names, NameOf() gives the first.
constexpr auto kKeys = std::to_array<NamedKey>({
    {"esc", Plain(0x01)},
    {"1", Plain(0x02)},
    {"2", Plain(0x03)},
    {"3", Plain(0x04)},
    {"4", Plain(0x05)},
    {"5", Plain(0x06)},
    {"6", Plain(0x07)},
    {"7", Plain(0x08)},
    {"8", Plain(0x09)},
    {"9", Plain(0x0A)},
    {"0", Plain(0x0B)},
    {"minus", Plain(0x0C)},
    {"equal", Plain(0x0D)},
    {"backspace", Plain(0x0E)},
    {"tab", Plain(0x0F)},
    {"q", Plain(0x10)},
    {"w", Plain(0x11)},
    {"e", Plain(0x12)},
    {"r", Plain(0x13)},
    {"t", Plain(0x14)},
    {"y", Plain(0x15)},
    {"u", Plain(0x16)},
    {"i", Plain(0x17)},
    {"o", Plain(0x18)},
    {"p", Plain(0x19)},
    {"bracket_left", Plain(0x1A)},
    {"bracket_right", Plain(0x1B)},
    {"ret", Plain(0x1C)},
    {"ctrl", Plain(0x1D)},
    {"a", Plain(0x1E)},
    {"s", Plain(0x1F)},
    {"d", Plain(0x20)},
    {"f", Plain(0x21)},
    {"g", Plain(0x22)},
    {"h", Plain(0x23)},
    {"j", Plain(0x24)},
    {"k", Plain(0x25)},
    {"l", Plain(0x26)},
    {"semicolon", Plain(0x27)},
    {"apostrophe", Plain(0x28)},
    {"grave_accent", Plain(0x29)},
    {"shift", Plain(0x2A)},
    {"backslash", Plain(0x2B)},
    {"z", Plain(0x2C)},
    {"x", Plain(0x2D)},
    {"c", Plain(0x2E)},
    {"v", Plain(0x2F)},
    {"b", Plain(0x30)},
    {"n", Plain(0x31)},
    {"m", Plain(0x32)},
    {"comma", Plain(0x33)},
    {"dot", Plain(0x34)},
    {"slash", Plain(0x35)},
    {"shift_r", Plain(0x36)},
    {"kp_multiply", Plain(0x37)},
    {"asterisk", Plain(0x37)},
    {"alt", Plain(0x38)},
    {"spc", Plain(0x39)},
    {"caps_lock", Plain(0x3A)},
    {"f1", Plain(0x3B)},
    {"f2", Plain(0x3C)},
    {"f3", Plain(0x3D)},
    {"f4", Plain(0x3E)},
    {"f5", Plain(0x3F)},
    {"f6", Plain(0x40)},
    {"f7", Plain(0x41)},
    {"f8", Plain(0x42)},
    {"f9", Plain(0x43)},
    {"f10", Plain(0x44)},
    {"num_lock", Plain(0x45)},
    {"scroll_lock", Plain(0x46)},
    {"kp_7", Plain(0x47)},
    {"kp_8", Plain(0x48)},
    {"kp_9", Plain(0x49)},
    {"kp_subtract", Plain(0x4A)},
    {"kp_4", Plain(0x4B)},
    {"kp_5", Plain(0x4C)},
    {"kp_6", Plain(0x4D)},
    {"kp_add", Plain(0x4E)},
    {"kp_1", Plain(0x4F)},
    {"kp_2", Plain(0x50)},
    {"kp_3", Plain(0x51)},
    {"kp_0", Plain(0x52)},
    {"kp_decimal", Plain(0x53)},
    {"sysrq", Plain(0x54)},
    {"less", Plain(0x56)},
    {"f11", Plain(0x57)},
    {"f12", Plain(0x58)},
    {"kp_equals", Plain(0x59)},
    {"hiragana", Plain(0x70)},
    {"katakanahiragana", Plain(0x70)},
    {"ro", Plain(0x73)},
    {"henkan", Plain(0x79)},
    {"muhenkan", Plain(0x7B)},
    {"yen", Plain(0x7D)},
    {"kp_comma", Plain(0x7E)},
    {"audioprev", Extended(0x10)},
    {"audionext", Extended(0x19)},
    {"kp_enter", Extended(0x1C)},
    {"ctrl_r", Extended(0x1D)},
    {"audiomute", Extended(0x20)},
    {"calculator", Extended(0x21)},
    {"audioplay", Extended(0x22)},
    {"audiostop", Extended(0x24)},
    {"volumedown", Extended(0x2E)},
    {"volumeup", Extended(0x30)},
    {"ac_home", Extended(0x32)},
    {"kp_divide", Extended(0x35)},
    {"print", Extended(0x37)},
    {"alt_r", Extended(0x38)},
    {"home", Extended(0x47)},
    {"up", Extended(0x48)},
    {"pgup", Extended(0x49)},
    {"left", Extended(0x4B)},
    {"right", Extended(0x4D)},
    {"end", Extended(0x4F)},
    {"down", Extended(0x50)},
    {"pgdn", Extended(0x51)},
    {"insert", Extended(0x52)},
    {"delete", Extended(0x53)},
    {"meta_l", Extended(0x5B)},
    {"meta_r", Extended(0x5C)},
    {"compose", Extended(0x5D)},
    {"menu", Extended(0x5D)},
    {"power", Extended(0x5E)},
    {"sleep", Extended(0x5F)},
    {"wake", Extended(0x63)},
    {"ac_bookmarks", Extended(0x66)},
    {"ac_refresh", Extended(0x67)},
    {"ac_forward", Extended(0x69)},
    {"ac_back", Extended(0x6A)},
    {"computer", Extended(0x6B)},
    {"mail", Extended(0x6C)},
    {"mediaselect", Extended(0x6D)},
    {"pause", kPauseKey},
});

struct TypedKey {
  std::string_view name;
  char plain, shifted;
};

// What keys other than letters type on a US layout.
constexpr auto kTyped = std::to_array<TypedKey>({
    {"1", '1', '!'},
    {"2", '2', '@'},
    {"3", '3', '#'},
    {"4", '4', '$'},
    {"5", '5', '%'},
    {"6", '6', '^'},
    {"7", '7', '&'},
    {"8", '8', '*'},
    {"9", '9', '('},
    {"0", '0', ')'},
    {"minus", '-', '_'},
    {"equal", '=', '+'},
    {"semicolon", ';', ':'},
    {"apostrophe", '\'', '"'},
    {"comma", ',', '<'},
    {"dot", '.', '>'},
    {"slash", '/', '?'},
    {"backslash", '\\', '|'},
    {"grave_accent", '`', '~'},
    {"bracket_left", '[', '{'},
    {"bracket_right", ']', '}'},
});

struct ControlKey {
  char character;
  std::string_view name;
};

constexpr auto kControls = std::to_array<ControlKey>({{' ', "spc"},
                                                      {'\t', "tab"},
                                                      {'\n', "ret"},
                                                      {'\r', "ret"},
                                                      {'\b', "backspace"},
                                                      {'\x1B', "esc"},
                                                      {'\x7F', "delete"}});

std::optional<Key> ParseKey(std::string_view text) {
  if (const auto key = FindKey(text)) return key;
  if (!text.starts_with("0x")) return std::nullopt;
  uint32_t number = 0;
  const auto [end, error] = std::from_chars(text.data() + 2, text.data() + text.size(), number, 16);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return FindKeyNumber(number);
}

}  // namespace

std::span<const NamedKey> AllKeys() { return kKeys; }

std::optional<Key> FindKey(std::string_view name) {
  const auto found = std::ranges::find(kKeys, name, &NamedKey::name);
  return found == kKeys.end() ? std::nullopt : std::optional(found->key);
}

std::string_view NameOf(Key key) {
  const auto found = std::ranges::find(kKeys, key, &NamedKey::key);
  return found == kKeys.end() ? std::string_view() : found->name;
}

std::optional<Key> FindKeyNumber(uint32_t number) {
  const auto code = static_cast<uint8_t>(number & ~kExtendedNumber);
  if (number > 0xFF || code == 0) return std::nullopt;
  const bool extended = number & kExtendedNumber;
  if (extended && code == kPauseKey.set1) return kPauseKey;
  return Key{code, extended, false};
}

std::optional<KeyChord> ParseKeyChord(std::string_view text) {
  KeyChord chord;
  for (;;) {
    const size_t dash = text.find('-');
    const auto key = ParseKey(text.substr(0, dash));
    if (!key) return std::nullopt;
    chord.push_back(*key);
    if (dash == std::string_view::npos) return chord;
    text.remove_prefix(dash + 1);
  }
}

std::optional<KeyChord> ChordOf(char character) {
  const Key shift = *FindKey("shift");
  for (const ControlKey& control : kControls) {
    if (control.character == character) return KeyChord{*FindKey(control.name)};
  }
  for (const TypedKey& typed : kTyped) {
    if (typed.plain == character) return KeyChord{*FindKey(typed.name)};
    if (typed.shifted == character) return KeyChord{shift, *FindKey(typed.name)};
  }
  const bool upper = character >= 'A' && character <= 'Z';
  const char letter = upper ? static_cast<char>(character - 'A' + 'a') : character;
  if (letter < 'a' || letter > 'z') return std::nullopt;
  const Key key = *FindKey(std::string_view(&letter, 1));
  return upper ? KeyChord{shift, key} : KeyChord{key};
}

void SendKey(Ps2Keyboard& keyboard, Key key, bool pressed) {
  if (!key.pause) {
    keyboard.Key(key.set1, key.extended, pressed);
  } else if (pressed) {
    keyboard.PauseKey();
  }
}

}  // namespace ring3
