#include "monitor/display/keysyms.h"

#include <algorithm>
#include <cctype>
#include <string>

namespace ring3 {
namespace {

struct Row {
  uint32_t keysym;
  const char* name;
};

constexpr Row kRows[] = {
    {0xFE03, "alt_r"},  // ISO_Level3_Shift
    {0xFE20, "tab"},    // ISO_Left_Tab
    {0xFF08, "backspace"},   {0xFF09, "tab"},         {0xFF0D, "ret"},       {0xFF13, "pause"},
    {0xFF14, "scroll_lock"}, {0xFF15, "sysrq"},       {0xFF1B, "esc"},       {0xFF50, "home"},
    {0xFF51, "left"},        {0xFF52, "up"},          {0xFF53, "right"},     {0xFF54, "down"},
    {0xFF55, "pgup"},        {0xFF56, "pgdn"},        {0xFF57, "end"},       {0xFF61, "print"},
    {0xFF63, "insert"},      {0xFF67, "menu"},        {0xFF6B, "pause"},  // Break
    {0xFF7F, "num_lock"},    {0xFF8D, "kp_enter"},    {0xFF95, "kp_7"},      {0xFF96, "kp_4"},
    {0xFF97, "kp_8"},        {0xFF98, "kp_6"},        {0xFF99, "kp_2"},      {0xFF9A, "kp_9"},
    {0xFF9B, "kp_3"},        {0xFF9C, "kp_1"},        {0xFF9D, "kp_5"},      {0xFF9E, "kp_0"},
    {0xFF9F, "kp_decimal"},  {0xFFAA, "kp_multiply"}, {0xFFAB, "kp_add"},    {0xFFAD, "kp_subtract"},
    {0xFFAE, "kp_decimal"},  {0xFFAF, "kp_divide"},   {0xFFE1, "shift"},     {0xFFE2, "shift_r"},
    {0xFFE3, "ctrl"},        {0xFFE4, "ctrl_r"},      {0xFFE5, "caps_lock"}, {0xFFE7, "alt"},  // Meta_L
    {0xFFE8, "alt_r"},       {0xFFE9, "alt"},         {0xFFEA, "alt_r"},     {0xFFEB, "meta_l"},
    {0xFFEC, "meta_r"},      {0xFFFF, "delete"},
};

std::optional<std::string> NameOfKeysym(uint32_t keysym) {
  constexpr uint32_t kPadZero = 0xFFB0, kPadNine = 0xFFB9, kF1 = 0xFFBE, kF12 = 0xFFC9;
  if (keysym >= kPadZero && keysym <= kPadNine) return "kp_" + std::to_string(keysym - kPadZero);
  if (keysym >= kF1 && keysym <= kF12) return "f" + std::to_string(keysym - kF1 + 1);
  const auto row = std::find_if(std::begin(kRows), std::end(kRows), [&](const Row& r) { return r.keysym == keysym; });
  if (row == std::end(kRows)) return std::nullopt;
  return row->name;
}

}  // namespace

std::optional<KeysymKey> KeyOfKeysym(uint32_t keysym) {
  constexpr uint32_t kFirstCharacter = 0x20, kLastCharacter = 0x7E;
  if (keysym >= kFirstCharacter && keysym <= kLastCharacter) {
    const auto chord = ChordOf(static_cast<char>(keysym));
    if (!chord) return std::nullopt;
    return KeysymKey{chord->back(), true, chord->size() > 1, std::isalpha(static_cast<int>(keysym)) != 0};
  }
  const auto name = NameOfKeysym(keysym);
  const auto key = name ? FindKey(*name) : std::nullopt;
  if (!key) return std::nullopt;
  return KeysymKey{*key};
}

}  // namespace ring3
