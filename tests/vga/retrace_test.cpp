// Retrace and display-enable bits from the clock.
#include <catch2/catch.hpp>

#include "tests/vga/scene.h"

namespace ring3 {
namespace {

TEST_CASE("Modes have the frame rates of their monitors") {
  Scene s;
  s.Set(kMode03);
  CHECK(TimingOf(s.vga.Registers()).FrameNs() / 1000 == 14268);  // 70.09 Hz
  s.Set(kMode12);
  CHECK(TimingOf(s.vga.Registers()).FrameNs() / 1000 == 16683);  // 59.94 Hz
  s.Set(kMode0D);
  CHECK(TimingOf(s.vga.Registers()).FrameNs() / 1000 == 14268);
}

TEST_CASE("Vertical retrace comes once a frame, for as many lines as programmed") {
  Scene s;
  s.Set(kMode12);
  const FrameTiming timing = TimingOf(s.vga.Registers());
  CHECK(timing.lines == 525);
  CHECK(timing.visible_lines == 480);
  CHECK(timing.retrace_first == 490);
  CHECK(timing.retrace_lines == 2);
  unsigned retraces = 0, retrace_samples = 0, hidden = 0;
  bool before = false;
  constexpr unsigned kSamples = 5250;
  for (unsigned i = 0; i < kSamples; ++i) {
    s.clock.Set(timing.FrameNs() * i / kSamples);
    const uint8_t status = s.In(0x3DA);
    const bool now = status & 8;
    retraces += now && !before;
    retrace_samples += now;
    hidden += status & 1;
    before = now;
  }
  CHECK(retraces == 1);
  CHECK(retrace_samples == Approx(20).margin(2));
  CHECK(hidden == Approx(kSamples * (1 - 480.0 / 525 * 0.8)).margin(60));
}

TEST_CASE("Whoever waits for a retrace goes on, whatever the registers say") {
  Scene s;
  for (const uint8_t fill : {0x00, 0xFF, 0x5A}) {
    s.Out(0x3C2, 0x67);
    s.Crtc(0x11, 0);
    for (uint8_t i = 0; i < 0x19; ++i) s.Crtc(i, i == 0x11 ? fill & 0x7F : fill);
    bool on = false, off = false;
    for (unsigned i = 0; i < 20000; ++i) {
      s.clock.Advance(7919);
      (s.In(0x3DA) & 8 ? on : off) = true;
    }
    CHECK(on);
    CHECK(off);
  }
}

}  // namespace
}  // namespace ring3
