#include "bench/bench.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdio>

#include "bench/images.h"
#include "bench/machines.h"
#include "bench/nano_suite.h"
#include "bench/options.h"
#include "bench/report.h"
#include "bench/results.h"

namespace ring3::bench {
namespace {

constexpr int kDisagreement = 1;  // exit code: two machines computed different things

bool Wants(const BenchOptions& options, const char* suite) {
  return std::find(options.suites.begin(), options.suites.end(), suite) != options.suites.end();
}

/// Each machine once. They take turns, so that what the host does besides hits them alike.
void RunRound(unsigned round, const std::vector<Machine>& machines, const ImageFolder& images,
              const BenchOptions& options, Results& results) {
  for (const Machine& machine : machines) {
    if (!machine.missing.empty()) continue;
    if (Wants(options, "nano")) {
      fmt::print(stderr, "bench: round {} of {}: nano: {}\n", round + 1, options.runs, machine.title);
      RunNano(machine, round, {images.NanoKernel(), images.NanoNative()}, options, results);
    }
  }
}

int Report(const Results& results, const std::vector<Machine>& machines, const BenchOptions& options) {
  for (const std::string& suite : options.suites) fmt::print("{}\n", Table(results, suite, machines));
  if (!options.json_file.empty()) WriteJson(options.json_file, results, machines, DescribeRun(options));
  const std::vector<std::string> disagreements = results.Disagreements();
  for (const std::string& line : disagreements) fmt::print(stderr, "bench: results differ: {}\n", line);
  return disagreements.empty() ? 0 : kDisagreement;
}

}  // namespace

int BenchMain(int argc, const char* const* argv) {
  const BenchOptions options = ParseBenchOptions(argc, argv);
  const ImageFolder images;
  std::vector<Machine> machines = ChooseMachines(options);
  for (const Machine& machine : machines) {
    if (!machine.missing.empty()) fmt::print(stderr, "bench: {} skipped: {}\n", machine.title, machine.missing);
  }
  LabelInterpretingKvm(machines, images.NanoKernel());
  Results results;
  for (unsigned round = 0; round < options.runs; ++round) RunRound(round, machines, images, options, results);
  return Report(results, machines, options);
}

}  // namespace ring3::bench
