#include "bench/options.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "monitor/cpu/fault.h"

namespace ring3::bench {
namespace {

constexpr unsigned kMostRuns = 999;

void CheckWords(const std::vector<std::string>& words, const std::vector<std::string>& known, const char* option) {
  for (const std::string& word : words) {
    if (std::find(known.begin(), known.end(), word) == known.end())
      throw UsageError(fmt::format("bench {}: '{}' is none of {}", option, word, fmt::join(known, ", ")));
  }
}

}  // namespace

bool BenchOptions::Wants(const std::string& row, RowUse use) const {
  if (!rows.empty()) return std::find(rows.begin(), rows.end(), row) != rows.end();
  if (quick) return use == RowUse::kQuick || use == RowUse::kBoth;
  return !ablate || use == RowUse::kAblation || use == RowUse::kBoth;
}

BenchOptions ParseBenchOptions(int argc, const char* const* argv) {
  BenchOptions options;
  CLI::App app{"Measures ring3 and what it is compared with, in turn, and prints medians and ratios.", "ring3 bench"};
  app.add_option("--suite", options.suites, "nano, user, guest, io: one or more (default: all)")->delimiter(',');
  app.add_option("--engines", options.engines, "ring3's engines: bt, kvm (default: bt)")->delimiter(',');
  app.add_option("--against", options.against, "qemu (TCG), native, kvm (QEMU on /dev/kvm) (default: qemu,native)")
      ->delimiter(',');
  app.add_option("--rows", options.rows, "only the rows with these names")->delimiter(',');
  app.add_option("--base", options.base, "another ring3 program, measured beside this one");
  app.add_option("--runs", options.runs, "rounds; each runs every machine once (default: 5)");
  app.add_flag("--quick", options.quick, "a few short rows, once: to see that it works, not to measure");
  app.add_flag(
      "--cpu-time", options.cpu_time,
      "user, guest and io suites: processor time, not elapsed time (where the host does other things besides)");
  app.add_flag("--ablate", options.ablate, "measure this ring3 without each of its fast paths in turn");
  app.add_option("--docs", options.docs_folder, "write the documentation's page and charts to this folder");
  app.add_option("--json", options.json_file, "write every sample to this file");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& done) {
    std::exit(app.exit(done));
  } catch (const CLI::ParseError& error) {
    throw UsageError(fmt::format("bench: {} (ring3 bench --help lists the options)", error.what()));
  }
  CheckWords(options.suites, {"nano", "user", "guest", "io"}, "--suite");
  CheckWords(options.engines, {"bt", "kvm"}, "--engines");
  if (options.against == std::vector<std::string>{"none"}) options.against.clear();
  CheckWords(options.against, {"qemu", "native", "kvm"}, "--against");
  if (options.runs < 1 || options.runs > kMostRuns)
    throw UsageError(fmt::format("bench --runs wants a number from 1 to {}", kMostRuns));
  if (options.quick) options.runs = 1;
  if (options.ablate && (!options.base.empty() || options.engines != std::vector<std::string>{"bt"}))
    throw UsageError("bench --ablate compares this ring3 with itself: it goes with neither --base nor --engines");
  return options;
}

}  // namespace ring3::bench
