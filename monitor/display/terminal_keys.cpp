#include "monitor/display/terminal_keys.h"

#define NCURSES_NOMACROS 1
#include <curses.h>

#include <algorithm>
#include <string>

namespace ring3 {
namespace {

struct Row {
  uint32_t code;
  const char* keys;
};

constexpr Row kFunctionKeys[] = {
    {KEY_UP, "up"},
    {KEY_DOWN, "down"},
    {KEY_LEFT, "left"},
    {KEY_RIGHT, "right"},
    {KEY_HOME, "home"},
    {KEY_END, "end"},
    {KEY_PPAGE, "pgup"},
    {KEY_NPAGE, "pgdn"},
    {KEY_IC, "insert"},
    {KEY_DC, "delete"},
    {KEY_BACKSPACE, "backspace"},
    {KEY_ENTER, "ret"},
    {KEY_BTAB, "shift-tab"},
    {KEY_SR, "shift-up"},
    {KEY_SF, "shift-down"},
    {KEY_SLEFT, "shift-left"},
    {KEY_SRIGHT, "shift-right"},
    {KEY_SHOME, "shift-home"},
    {KEY_SEND, "shift-end"},
    {KEY_SDC, "shift-delete"},
};

/// Terminals number F1 to F12, then the same with Shift.
constexpr uint32_t kFunctionCount = 12;

std::optional<KeyChord> ChordOfFunctionKey(uint32_t code) {
  if (code > KEY_F0 && code <= KEY_F0 + 2 * kFunctionCount) {
    const uint32_t number = code - KEY_F0;
    const bool shift = number > kFunctionCount;
    return ParseKeyChord((shift ? "shift-f" : "f") + std::to_string(shift ? number - kFunctionCount : number));
  }
  const auto row =
      std::find_if(std::begin(kFunctionKeys), std::end(kFunctionKeys), [&](const Row& r) { return r.code == code; });
  if (row == std::end(kFunctionKeys)) return std::nullopt;
  return ParseKeyChord(row->keys);
}

std::optional<KeyChord> ChordOfCharacter(uint32_t code) {
  switch (code) {
    case 0:
      return ParseKeyChord("ctrl-spc");
    case 8:
    case 127:
      return ParseKeyChord("backspace");
    case 9:
      return ParseKeyChord("tab");
    case 10:
    case 13:
      return ParseKeyChord("ret");
    case 27:
      return ParseKeyChord("esc");
    case 28:
      return ParseKeyChord("ctrl-backslash");
    case 29:
      return ParseKeyChord("ctrl-bracket_right");
    case 30:
      return ParseKeyChord("ctrl-6");
    case 31:
      return ParseKeyChord("ctrl-minus");
    default:
      break;
  }
  if (code < 27) return ParseKeyChord(std::string("ctrl-") + static_cast<char>('a' + code - 1));
  if (code < 127) return ChordOf(static_cast<char>(code));
  return std::nullopt;
}

}  // namespace

std::optional<KeyChord> ChordOfTerminalKey(const TerminalKey& key) {
  std::optional<KeyChord> chord = key.function ? ChordOfFunctionKey(key.code) : ChordOfCharacter(key.code);
  if (chord && key.alt) chord->insert(chord->begin(), *FindKey("alt"));
  return chord;
}

}  // namespace ring3
