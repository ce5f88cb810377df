#include "devices/key_player.h"

namespace ring3 {
namespace {

constexpr uint64_t kRetryNs = 2'000'000;

}  // namespace

KeyPlayer::KeyPlayer(Clock& clock, TimerQueue& timers, Ps2Keyboard& keyboard)
    : clock_(clock), keyboard_(keyboard), timer_(timers, [this](uint64_t now) { Run(now); }) {}

bool KeyPlayer::Play(const KeyChord& chord, uint64_t hold_ns, uint64_t gap_ns) {
  if (events_.size() + 2 * chord.size() > kMostEvents) return false;
  for (const Key& key : chord) events_.push_back({key, true, 0});
  if (!chord.empty()) events_.back().pause_ns = hold_ns;
  for (auto key = chord.rbegin(); key != chord.rend(); ++key) events_.push_back({*key, false, 0});
  if (!chord.empty()) events_.back().pause_ns = gap_ns;
  Start();
  return true;
}

bool KeyPlayer::Play(Key key, bool pressed) {
  if (events_.size() >= kMostEvents) return false;
  events_.push_back({key, pressed, 0});
  Start();
  return true;
}

void KeyPlayer::Clear() {
  events_.clear();
  timer_.Cancel();
}

void KeyPlayer::Start() {
  if (!timer_.Armed() && !events_.empty()) Run(clock_.NowNs());
}

void KeyPlayer::Run(uint64_t now) {
  while (!events_.empty()) {
    if (keyboard_.HasOutput()) return timer_.Schedule(now + kRetryNs);
    const Event event = events_.front();
    events_.pop_front();
    SendKey(keyboard_, event.key, event.pressed);
    if (event.pause_ns != 0) return timer_.Schedule(now + event.pause_ns);
  }
}

}  // namespace ring3
