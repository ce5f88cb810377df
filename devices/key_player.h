// Plays keys to the keyboard at a pace that guests can follow: chords are held for a while, and the next event waits
// until the guest has taken the bytes of the one before.
#pragma once

#include <cstdint>
#include <deque>

#include "devices/clock.h"
#include "devices/key_names.h"
#include "devices/ps2_keyboard.h"

namespace ring3 {

class KeyPlayer {
 public:
  /// Pace of typed text, in nanoseconds.
  static constexpr uint64_t kTypingHoldNs = 15'000'000, kTypingGapNs = 15'000'000;
  static constexpr size_t kMostEvents = 1u << 16;

  KeyPlayer(Clock& clock, TimerQueue& timers, Ps2Keyboard& keyboard);

  /// Presses the chord's keys in order, holds them for `hold_ns`, releases them in reverse order and waits `gap_ns`;
  /// all behind what is playing already. False: too much is waiting, nothing was added.
  bool Play(const KeyChord& chord, uint64_t hold_ns, uint64_t gap_ns);
  /// A single event, behind what is playing.
  bool Play(Key key, bool pressed);
  bool Idle() const { return events_.empty(); }
  /// Forgets what waits: reset.
  void Clear();

 private:
  struct Event {
    Key key;
    bool pressed;
    uint64_t pause_ns;  // after it
  };

  void Run(uint64_t now);
  void Start();

  Clock& clock_;
  Ps2Keyboard& keyboard_;
  std::deque<Event> events_;
  Timer timer_;
};

}  // namespace ring3
