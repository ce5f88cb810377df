// Keys and pointer motion on their way from front ends to the guest's keyboard and mouse.
#pragma once

#include <cstdint>
#include <map>

#include "devices/clock.h"
#include "devices/key_names.h"
#include "devices/key_player.h"
#include "devices/mailbox.h"
#include "devices/ps2_keyboard.h"
#include "devices/vm_port.h"

namespace ring3 {

/// Any thread may call it; the devices see it on the vCPU thread. Made and destroyed while no thread does.
class GuestInput {
 public:
  GuestInput(Mailbox& mailbox, Clock& clock, TimerQueue& timers, Ps2Keyboard& keyboard, VmPort& pointer)
      : mailbox_(mailbox), keyboard_(keyboard), pointer_(pointer), player_(clock, timers, keyboard) {}

  void SendKey(Key key, bool pressed);
  /// A keysym goes down or up. A character that does not fit the guest's Shift and Caps Lock gets a Shift that does.
  void SendKeysym(uint32_t keysym, bool pressed);
  /// For sources that know no releases: the keys go down together and up again, at a pace that guests follow.
  void Strike(const KeyChord& chord);
  /// Whoever held keys down is gone.
  void ReleaseAll();

  /// Right and up are positive; `buttons` as in Ps2Mouse::Move.
  void Move(int dx, int dy, int wheel, uint8_t buttons);
  /// The pointer is at (x, y) of a screen of this size. A guest that does not want to know where gets a mouse that
  /// moves as far as the pointer did since the last call.
  void PointAt(int x, int y, int width, int height, int wheel, uint8_t buttons);

 private:
  enum class Adjustment : uint8_t { kNone, kAddedShift, kRemovedShift };
  struct Held {
    Key key;
    Adjustment adjustment = Adjustment::kNone;
  };
  using KeyNumber = uint16_t;

  void Put(Key key, bool pressed);
  void PressKeysym(uint32_t keysym);
  void ReleaseKeysym(uint32_t keysym);
  bool IsDown(Key key) const;
  void PutShifts(bool pressed);

  Mailbox& mailbox_;
  // vCPU thread:
  Ps2Keyboard& keyboard_;
  VmPort& pointer_;
  KeyPlayer player_;
  std::map<KeyNumber, Key> down_;
  std::map<uint32_t, Held> held_keysyms_;
  KeyChord lifted_shifts_;
  int last_x_ = -1, last_y_ = -1;
};

}  // namespace ring3
