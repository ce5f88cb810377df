#include "monitor/display/display.h"

namespace ring3 {

Display::Display(Clock& clock, TimerQueue& timers, Vga& vga)
    : clock_(clock), renderer_(vga), timer_(timers, [this](uint64_t now) {
        Refresh();
        timer_.Schedule(now + kRefreshNs);
      }) {}

void Display::AddWatcher() {
  Refresh();  // the machine's time may stand still
  if (watchers_++ == 0) timer_.Schedule(clock_.NowNs() + kRefreshNs);
}

void Display::RemoveWatcher() {
  if (--watchers_ == 0) timer_.Cancel();
}

void Display::Refresh() {
  surface_.Update([this](Frame& frame) { return renderer_.Draw(frame); });
}

Frame Display::Capture() {
  Refresh();
  return surface_.Copy();
}

std::string Display::Text() {
  Refresh();
  return surface_.Copy().text.Utf8();
}

}  // namespace ring3
