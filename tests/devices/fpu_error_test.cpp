#include "devices/fpu_error.h"

#include <catch2/catch.hpp>

#include "devices/board.h"

namespace ring3 {
namespace {

TEST_CASE("FERR# raises IRQ 13 until port F0h is written, each time anew") {
  ManualClock clock;
  unsigned ignored = 0;
  BoardEvents events;
  events.ignore_fpu_error = [&] { ++ignored; };
  Board board(clock, {}, events);
  board.Reset();
  const IrqState idle = board.Pics().GetIrqState(layout::kFpuIrq);
  REQUIRE(idle != IrqState::kPending);
  board.Ports().Write(0x21, 1, 0);  // unmask everything
  board.Ports().Write(0xA1, 1, 0);
  board.Ports().Write(layout::kFpuErrorPort, 1, 0);  // no error: nothing to ignore
  CHECK(ignored == 0);
  for (unsigned round = 1; round <= 2; ++round) {
    board.FpuError().Assert();
    CHECK(board.Pics().GetIrqState(layout::kFpuIrq) == IrqState::kPending);
    board.Ports().Write(layout::kFpuErrorPort, 1, 0);
    CHECK(board.Pics().GetIrqState(layout::kFpuIrq) == IrqState::kIdle);
    CHECK(ignored == round);
  }
}

}  // namespace
}  // namespace ring3
