#include "monitor/display/guest_input.h"

#include <algorithm>

#include "monitor/display/keysyms.h"

namespace ring3 {
namespace {

constexpr uint8_t kCapsLockLed = 4;
constexpr uint64_t kStrikeNs = 20'000'000;
constexpr size_t kMostHeldKeysyms = 256;

uint16_t NumberOf(Key key) {
  return static_cast<uint16_t>(key.set1 | (key.extended ? 0x100 : 0) | (key.pause ? 0x200 : 0));
}

Key Shift() { return *FindKey("shift"); }
Key RightShift() { return *FindKey("shift_r"); }

}  // namespace

/// The one way to the keyboard: remembers what is down.
void GuestInput::Put(Key key, bool pressed) {
  if (pressed) {
    down_[NumberOf(key)] = key;
  } else {
    down_.erase(NumberOf(key));
  }
  ring3::SendKey(keyboard_, key, pressed);
}

bool GuestInput::IsDown(Key key) const { return down_.contains(NumberOf(key)); }

void GuestInput::SendKey(Key key, bool pressed) {
  mailbox_.Post([this, key, pressed] { Put(key, pressed); });
}

void GuestInput::SendKeysym(uint32_t keysym, bool pressed) {
  mailbox_.Post([this, keysym, pressed] { pressed ? PressKeysym(keysym) : ReleaseKeysym(keysym); });
}

/// Lifts the shifts that are down, or puts those down again that were lifted.
void GuestInput::PutShifts(bool pressed) {
  if (!pressed) {
    lifted_shifts_.clear();
    for (const Key shift : {Shift(), RightShift()}) {
      if (IsDown(shift)) lifted_shifts_.push_back(shift);
    }
  }
  for (const Key shift : lifted_shifts_) Put(shift, pressed);
}

void GuestInput::PressKeysym(uint32_t keysym) {
  const std::optional<KeysymKey> wanted = KeyOfKeysym(keysym);
  if (!wanted || held_keysyms_.size() >= kMostHeldKeysyms) return;
  Held held{wanted->key};
  // A repeated press is the client's typematic repeat: what the first one needed is still in place.
  const auto before = held_keysyms_.find(keysym);
  if (before != held_keysyms_.end()) return Put(wanted->key, true);
  if (wanted->character) {
    const bool shift = IsDown(Shift()) || IsDown(RightShift());
    const bool caps = wanted->letter && (keyboard_.Leds() & kCapsLockLed);
    if (wanted->shifted != (shift != caps))
      held.adjustment = shift ? Adjustment::kRemovedShift : Adjustment::kAddedShift;
  }
  if (held.adjustment == Adjustment::kAddedShift) Put(Shift(), true);
  if (held.adjustment == Adjustment::kRemovedShift) PutShifts(false);
  Put(wanted->key, true);
  held_keysyms_[keysym] = held;
}

void GuestInput::ReleaseKeysym(uint32_t keysym) {
  const auto found = held_keysyms_.find(keysym);
  if (found == held_keysyms_.end()) {
    const std::optional<KeysymKey> key = KeyOfKeysym(keysym);
    if (key && IsDown(key->key)) Put(key->key, false);
    return;
  }
  const Held held = found->second;
  held_keysyms_.erase(found);
  Put(held.key, false);
  if (held.adjustment == Adjustment::kAddedShift) Put(Shift(), false);
  if (held.adjustment == Adjustment::kRemovedShift) PutShifts(true);
}

void GuestInput::Strike(const KeyChord& chord) {
  mailbox_.Post([this, chord] { player_.Play(chord, kStrikeNs, kStrikeNs); });
}

void GuestInput::ReleaseAll() {
  mailbox_.Post([this] {
    const std::map<KeyNumber, Key> down = down_;
    for (const auto& [number, key] : down) Put(key, false);
    held_keysyms_.clear();
    lifted_shifts_.clear();
  });
}

void GuestInput::Move(int dx, int dy, int wheel, uint8_t buttons) {
  mailbox_.Post([=, this] { pointer_.Move(dx, dy, wheel, buttons); });
}

void GuestInput::PointAt(int x, int y, int width, int height, int wheel, uint8_t buttons) {
  const auto scaled = [](int at, int size) {
    return static_cast<uint16_t>(int64_t{std::clamp(at, 0, std::max(size - 1, 0))} * 0xFFFF / std::max(size - 1, 1));
  };
  mailbox_.Post([=, this] {
    const bool first = last_x_ < 0;
    const int dx = first ? 0 : x - last_x_, dy = first ? 0 : last_y_ - y;
    last_x_ = x;
    last_y_ = y;
    if (!pointer_.Point(scaled(x, width), scaled(y, height), wheel, buttons)) pointer_.Move(dx, dy, wheel, buttons);
  });
}

}  // namespace ring3
