// The surface between the vCPU thread and front ends.
#include "monitor/display/surface.h"

#include <catch2/catch.hpp>

#include "monitor/display/display.h"
#include "tests/devices/device_test_support.h"
#include "tests/vga/scene.h"

namespace ring3 {
namespace {

Changes Seen(Surface& surface, Surface::Viewer& viewer) {
  Changes seen;
  surface.Look(viewer, [&](const Frame&, const Changes& changes) { seen = changes; });
  return seen;
}

TEST_CASE("Each viewer learns once what changed since it last looked") {
  Surface surface;
  unsigned wakes = 0;
  Surface::Viewer& viewer = surface.AddViewer([&] { ++wakes; });
  CHECK(Seen(surface, viewer).resized);
  CHECK_FALSE(Seen(surface, viewer).Any());
  const auto change = [&](Rectangle rectangle) {
    surface.Update([&](Frame&) { return Changes{.rectangles = {rectangle}}; });
  };
  change({1, 2, 3, 4});
  change({10, 20, 1, 1});
  CHECK(wakes == 2);
  Surface::Viewer& late = surface.AddViewer(nullptr);
  CHECK(Seen(surface, viewer).rectangles == std::vector<Rectangle>{{1, 2, 3, 4}, {10, 20, 1, 1}});
  CHECK(Seen(surface, late).resized);
  surface.RemoveViewer(late);
  for (int i = 0; i < 1000; ++i) change({i, i, 1, 1});
  CHECK(Seen(surface, viewer).rectangles.size() <= 64);
  surface.RemoveViewer(viewer);
}

TEST_CASE("The screen is refreshed while somebody watches, and only then") {
  Scene scene;
  scene.Set(kMode03);
  TimerQueue timers;
  Display display(scene.clock, timers, scene.vga);
  CHECK_FALSE(timers.NextDeadline());
  display.AddWatcher();
  AdvanceExactly(scene.clock, timers, Display::kRefreshNs * 3);
  CHECK(display.Screen().Copy().width == 720);
  display.RemoveWatcher();
  CHECK_FALSE(timers.NextDeadline());
  scene.Print(0, 0, 7, "\x01 caf\x82");
  CHECK(display.Text().starts_with("☺ café\n"));
}

}  // namespace
}  // namespace ring3
