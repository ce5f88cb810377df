// Random programs, translated, interpreted and native. RING3_RANDOM_COUNT says how many, RING3_RANDOM_SEED where to
// start. A failure prints its seed and the smallest part of the program that still fails.
#include <fmt/core.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>

#include "tests/instructions/from_environment.h"
#include "tests/instructions/sequence_runner.h"

using namespace ring3;

TEST_CASE("random programs do what the processor does") {
  constexpr uint64_t kCount = 15000;
  const uint64_t first = FromEnvironment("RING3_RANDOM_SEED", 1), count = FromEnvironment("RING3_RANDOM_COUNT", kCount);
  constexpr unsigned kMostFailures = 5;
  SequenceRunner runner;
  std::string report;
  unsigned failures = 0;
  for (uint64_t seed = first; seed < first + count && failures < kMostFailures; ++seed) {
    const Sequence sequence = MakeSequence(seed);
    const std::string whole = runner.Difference(sequence.Assembled());
    if (whole.empty()) continue;
    ++failures;
    const Program smallest =
        Shrink(sequence, [&](const Program& p) { return !runner.Difference(p).empty(); }).Assembled();
    report +=
        fmt::format("program {}:\n{}shrunk: {}{}\n", seed, whole, Describe(smallest), runner.Difference(smallest));
  }
  INFO(report);
  CHECK(failures == 0);
  // Others run astray, into noise.
  CHECK(runner.Compared() >= count * 6 / 10);
  // How programs ended: most came to their end, some faulted in each way.
  INFO(runner.Endings());
  CHECK(runner.Ended(3) >= count / 4);
  if (count >= kCount) {
    for (uint32_t vector : {0u, 13u, 14u}) CHECK(runner.Ended(vector) > 0);
  }
}

TEST_CASE("a failing program is shrunk to what fails") {
  // "Fails" where a certain instruction is left: the rest must go.
  Sequence sequence = MakeSequence(1);
  const Bytes marker = {0x0F, 0xC8, 0x0F, 0xC9};
  sequence.items.insert(sequence.items.begin() + static_cast<ptrdiff_t>(sequence.items.size() / 2),
                        {.bytes = marker, .references = {}});
  const Sequence smallest = Shrink(sequence, [&](const Program& p) {
    return std::search(p.code.begin(), p.code.end(), marker.begin(), marker.end()) != p.code.end();
  });
  CHECK(smallest.items.size() == 1);
  CHECK(smallest.Assembled().code == marker);
}
