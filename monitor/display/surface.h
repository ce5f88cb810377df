// The picture that the vCPU thread draws and the front ends' threads read, with what changed for each of them.
#pragma once

#include <functional>
#include <list>
#include <mutex>
#include <utility>
#include <vector>

#include "monitor/display/frame.h"

namespace ring3 {

/// What changed since a viewer last looked.
struct Changes {
  bool resized = false;  // all is new
  bool text = false;     // characters or the text cursor
  std::vector<Rectangle> rectangles;

  bool Any() const { return resized || text || !rectangles.empty(); }
};

class Surface {
 public:
  class Viewer {
   public:
    explicit Viewer(std::function<void()> wake) : wake_(std::move(wake)) {}

   private:
    friend class Surface;
    std::function<void()> wake_;
    Changes changes_;
  };

  Surface() = default;
  Surface(const Surface&) = delete;
  Surface& operator=(const Surface&) = delete;

  /// `wake` is called on the vCPU thread, with the surface locked, when something changed; it must not block. A new
  /// viewer finds everything changed.
  Viewer& AddViewer(std::function<void()> wake);
  void RemoveViewer(Viewer& viewer);

  /// Any thread: calls read(const Frame&, const Changes&) if anything changed for this viewer. The vCPU thread waits
  /// meanwhile, so it copies and does nothing else.
  template <class Read>
  void Look(Viewer& viewer, Read read) {
    const std::lock_guard lock(mutex_);
    if (!viewer.changes_.Any()) return;
    const Changes changes = std::exchange(viewer.changes_, {});
    read(static_cast<const Frame&>(frame_), changes);
  }
  /// Any thread.
  Frame Copy() const {
    const std::lock_guard lock(mutex_);
    return frame_;
  }

  /// vCPU thread: calls draw(Frame&), which says what it changed.
  template <class Draw>
  void Update(Draw draw) {
    const std::lock_guard lock(mutex_);
    Tell(draw(frame_));
  }

 private:
  /// Beyond this a viewer is told of one rectangle around all.
  static constexpr size_t kMostRectangles = 64;
  void Tell(const Changes& changes);

  mutable std::mutex mutex_;
  Frame frame_;
  std::list<Viewer> viewers_;
};

}  // namespace ring3
