#include "bench/bench.h"

#include <fmt/core.h>

#include <cstdio>

#include "bench/docs.h"
#include "bench/images.h"
#include "bench/linux_suite.h"
#include "bench/machines.h"
#include "bench/nano_suite.h"
#include "bench/options.h"
#include "bench/report.h"
#include "bench/results.h"

namespace ring3::bench {
namespace {

constexpr int kDisagreement = 1;  // exit code: two machines computed different things

/// What all rounds share.
struct Setting {
  const BenchOptions& options;
  const ImageFolder& images;
  const GuestFiles& files;
  const std::vector<Machine>& machines;
};

void RunSuite(const std::string& suite, const Machine& machine, unsigned round, const Setting& setting,
              Results& results) {
  const bool nano = suite == "nano";
  const std::string missing = nano ? machine.missing : MissingForLinux(machine, setting.files, setting.images);
  if (!missing.empty()) {
    if (round == 0) fmt::print(stderr, "bench: {}: {} suite skipped: {}\n", machine.title, suite, missing);
    return;
  }
  fmt::print(stderr, "bench: round {} of {}: {}: {}\n", round + 1, setting.options.runs, suite, machine.title);
  if (nano) {
    RunNano(machine, round, {setting.images.NanoKernel(), setting.images.NanoNative()}, setting.options, results);
  } else {
    RunLinux(suite, machine, round, setting.files, setting.images, setting.options, results);
  }
}

/// Each machine once. They take turns, so that what the host does besides hits them alike.
void RunRound(unsigned round, const Setting& setting, Results& results) {
  for (const std::string& suite : setting.options.suites) {
    for (const Machine& machine : setting.machines) RunSuite(suite, machine, round, setting, results);
  }
}

void WriteReports(const Results& results, const Setting& setting) {
  const BenchOptions& options = setting.options;
  Facts facts = DescribeRun(options);
  if (!setting.files.versions.empty()) facts.emplace_back("guest", setting.files.versions);
  if (!options.json_file.empty()) WriteJson(options.json_file, results, setting.machines, facts);
  if (options.docs_folder.empty()) return;
  if (options.ablate) {
    WriteAblationPage(options.docs_folder, results, setting.machines, facts);
  } else {
    WriteBenchmarkPage(options.docs_folder, results, setting.machines, facts);
  }
}

int Report(const Results& results, const Setting& setting) {
  if (setting.options.ablate) {
    fmt::print("{}\n", AblationTable(results, setting.machines));
  } else {
    for (const std::string& suite : setting.options.suites) fmt::print("{}\n", Table(results, suite, setting.machines));
  }
  WriteReports(results, setting);
  const std::vector<std::string> disagreements = results.Disagreements();
  for (const std::string& line : disagreements) fmt::print(stderr, "bench: results differ: {}\n", line);
  return disagreements.empty() ? 0 : kDisagreement;
}

}  // namespace

int BenchMain(int argc, const char* const* argv) {
  const BenchOptions options = ParseBenchOptions(argc, argv);
  const ImageFolder images;
  std::vector<Machine> machines = ChooseMachines(options);
  LabelInterpretingKvm(machines, images.NanoKernel());
  const GuestFiles files = FindGuestFiles();
  const Setting setting{options, images, files, machines};
  Results results;
  for (unsigned round = 0; round < options.runs; ++round) RunRound(round, setting, results);
  return Report(results, setting);
}

}  // namespace ring3::bench
