// The command line of "ring3 bench".
#pragma once

#include <string>
#include <vector>

namespace ring3::bench {

/// What besides a full run a row is part of. In an ablation: rows in which at least one fast path is at home.
enum class RowUse { kNeither, kQuick, kAblation, kBoth };

struct BenchOptions {
  std::vector<std::string> suites{"nano", "user", "guest", "io"};
  std::vector<std::string> engines{"bt"};
  std::vector<std::string> against{"qemu", "native"};
  std::vector<std::string> rows;  // empty: all
  std::string base;               // another ring3 to compare with; empty: none
  unsigned runs = 5;
  bool quick = false;
  bool cpu_time = false;  // processor time instead of elapsed time, for machines that do other things besides
  bool ablate = false;    // this ring3 without each of its fast paths in turn, instead of other machines
  std::string json_file;
  std::string docs_folder;  // where the pages and charts go; empty: nowhere

  /// Whether the row with this name is to be measured.
  bool Wants(const std::string& row, RowUse use) const;
};

/// Throws UsageError. Prints and exits for --help.
BenchOptions ParseBenchOptions(int argc, const char* const* argv);

}  // namespace ring3::bench
