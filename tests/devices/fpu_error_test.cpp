#include "devices/fpu_error.h"

#include <catch2/catch.hpp>

#include "devices/board.h"

namespace ring3 {
namespace {

TEST_CASE("FERR# raises IRQ 13 until port F0h is written, each time anew") {
  ManualClock clock;
  Board board(clock, {}, {});
  board.Reset();
  const IrqState idle = board.Pics().GetIrqState(layout::kFpuIrq);
  REQUIRE(idle != IrqState::kPending);
  board.Ports().Write(0x21, 1, 0);  // unmask everything
  board.Ports().Write(0xA1, 1, 0);
  for (int round = 0; round < 2; ++round) {
    board.FpuError().Assert();
    CHECK(board.Pics().GetIrqState(layout::kFpuIrq) == IrqState::kPending);
    board.Ports().Write(layout::kFpuErrorPort, 1, 0);
    CHECK(board.Pics().GetIrqState(layout::kFpuIrq) == IrqState::kIdle);
  }
}

}  // namespace
}  // namespace ring3
