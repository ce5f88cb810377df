// The VGA's window as plain memory, while it behaves like some.
#pragma once

#include <cstdint>

#include "devices/clock.h"
#include "devices/vga/vga_window.h"
#include "shadowmmu/physical_memory.h"

namespace ring3 {

/// In 256-colour modes and the Bochs extension's, a byte of the window is a byte of video memory. Then the guest gets
/// its pages, some time after it first used the window in such a mode; the mode's end takes them away at once. Guests
/// that change modes or banks all the time wait longer each time: a change costs the mappings and their faults.
class DirectWindow {
 public:
  /// All outlive this; `backed` is what the window shows.
  DirectWindow(Clock& clock, TimerQueue& timers, PhysicalMemory& physical, BackedMemory& backed, VgaWindow& window);
  ~DirectWindow() { physical_.EndAlias(); }
  DirectWindow(const DirectWindow&) = delete;

  /// The window was used the slow way.
  void Used() {
    if (!timer_.Armed()) Consider();
  }
  /// Registers may have changed what the window shows.
  void RegistersChanged() {
    if (shown_) EndIfChanged();
  }

 private:
  void Consider();
  void Show(uint64_t now);
  void EndIfChanged();

  Clock& clock_;
  PhysicalMemory& physical_;
  BackedMemory& backed_;
  VgaWindow& window_;
  std::optional<VgaWindow::PlainBytes> shown_;
  uint64_t shown_ns_ = 0, patience_ns_;
  Timer timer_;
};

}  // namespace ring3
