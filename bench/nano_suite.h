// The nano suite: cycles per operation, measured by a kernel of our own (bench/nano).
#pragma once

#include <string>
#include <vector>

#include "bench/machines.h"
#include "bench/results.h"

namespace ring3::bench {

/// Where the suites put what they run.
struct Images {
  std::string nano_kernel, nano_native;
};

/// One round on one machine.
void RunNano(const Machine& machine, unsigned round, const Images& images, const BenchOptions& options,
             Results& results);

/// Cycles of a decrement and a jump; 0 if the machine does not get that far.
double MeasurePlainLoop(const Machine& machine, const std::string& kernel);

}  // namespace ring3::bench
