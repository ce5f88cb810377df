// Every row of the opcode maps times every addressing form times segments, operand places, values, flags and privilege,
// translated and interpreted, against the processor. A run is a sample of the product: trial number n has row and form
// from n, everything else from a seed that is n too. RING3_SWEEP_FIRST and RING3_SWEEP_COUNT say which.
#include <fmt/core.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <set>

#include "tests/instructions/from_environment.h"
#include "tests/instructions/sweep_runner.h"

using namespace ring3;

TEST_CASE("every row and form does what the processor does") {
  constexpr uint64_t kCount = 30000;
  const uint64_t first = FromEnvironment("RING3_SWEEP_FIRST", 0), count = FromEnvironment("RING3_SWEEP_COUNT", kCount);
  SweepRunner runner;
  for (uint64_t n = first; n < first + count; ++n) runner.Try(n);
  INFO(runner.Report());
  CHECK(runner.Failed() == 0);
  if (count >= kCount) {
    CHECK(runner.RowsMissed() == "");
    CHECK(runner.FormsMissed() == "");
  }
}
