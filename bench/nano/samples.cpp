// How often an operation is repeated: until a sample is long enough for the clock and short enough for patience.
#include "rows.h"

namespace nano {
namespace {
constexpr uint64_t kSampleCycles =
    2'000'000;  // some 0.8 ms: less than a time slice of the host, so that most are whole
constexpr uint32_t kFirstIterations = 64, kMostIterations = 1u << 24;

/// Twice: one measurement alone may be long because the host did something else.
bool FillSample(const Row& row, uint32_t iterations) {
  return row.measure(iterations) >= kSampleCycles && row.measure(iterations) >= kSampleCycles;
}

}  // namespace

Samples TakeSamples(const Row& row) {
  Samples samples;
  samples.iterations = row.fixed_iterations;
  if (samples.iterations == 0) {
    samples.iterations = kFirstIterations;
    while (samples.iterations < kMostIterations && !FillSample(row, samples.iterations)) samples.iterations *= 2;
  }
  for (uint64_t& cycles : samples.cycles) cycles = row.measure(samples.iterations);
  return samples;
}

}  // namespace nano
