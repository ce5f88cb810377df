#include "monitor/display/surface.h"

namespace ring3 {
namespace {

void Merge(Changes& into, const Changes& from, size_t most) {
  into.text |= from.text;
  if (from.resized) {
    into.resized = true;
    into.rectangles.clear();
  }
  into.rectangles.insert(into.rectangles.end(), from.rectangles.begin(), from.rectangles.end());
  if (into.rectangles.size() <= most) return;
  Rectangle all = into.rectangles.front();
  for (const Rectangle& rectangle : into.rectangles) all = Union(all, rectangle);
  into.rectangles.assign(1, all);
}

}  // namespace

Surface::Viewer& Surface::AddViewer(std::function<void()> wake) {
  const std::lock_guard lock(mutex_);
  Viewer& viewer = viewers_.emplace_back(std::move(wake));
  viewer.changes_ = {.resized = true, .text = true, .rectangles = {}};
  return viewer;
}

void Surface::RemoveViewer(Viewer& viewer) {
  const std::lock_guard lock(mutex_);
  viewers_.remove_if([&](const Viewer& other) { return &other == &viewer; });
}

void Surface::Tell(const Changes& changes) {
  if (!changes.Any()) return;
  for (Viewer& viewer : viewers_) {
    Merge(viewer.changes_, changes, kMostRectangles);
    if (viewer.wake_) viewer.wake_();
  }
}

}  // namespace ring3
