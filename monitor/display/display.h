// The guest's screen, refreshed while somebody looks.
#pragma once

#include <string>

#include "devices/clock.h"
#include "devices/vga/vga.h"
#include "monitor/display/renderer.h"
#include "monitor/display/surface.h"

namespace ring3 {

/// For the vCPU thread, but for Screen().
class Display {
 public:
  static constexpr uint64_t kRefreshNs = kNanosecondsPerSecond / 30;

  Display(Clock& clock, TimerQueue& timers, Vga& vga);

  /// What front ends read, on threads of their own.
  Surface& Screen() { return surface_; }
  /// A front end shows the screen / no longer does: it is refreshed on a timer while any does.
  void AddWatcher();
  void RemoveWatcher();
  /// Draws what changed.
  void Refresh();

  /// The screen as it is now.
  Frame Capture();
  /// The characters of a text mode in UTF-8; empty in graphics modes.
  std::string Text();

 private:
  Clock& clock_;
  Surface surface_;
  Renderer renderer_;
  Timer timer_;
  unsigned watchers_ = 0;
};

}  // namespace ring3
