// Results as a table for people and as JSON for programs.
#pragma once

#include <string>
#include <vector>

#include "bench/machines.h"
#include "bench/results.h"

namespace ring3::bench {

/// Name and value of what describes a run: host, versions, date.
using Facts = std::vector<std::pair<std::string, std::string>>;
Facts DescribeRun(const BenchOptions& options);

/// The ratios shown: of each other machine by the first, and of the first by the native one.
struct RatioColumn {
  std::string above, below, title;
};
std::vector<RatioColumn> RatioColumns(const std::vector<Machine>& machines);

/// Three digits that count.
std::string ShortNumber(double value);

/// Whether a machine has any figure in a suite.
bool HasFigures(const Results& results, const std::string& suite, const std::string& machine);

/// In Markdown.
std::string Table(const Results& results, const std::string& suite, const std::vector<Machine>& machines);
void WriteJson(const std::string& path, const Results& results, const std::vector<Machine>& machines,
               const Facts& facts);

}  // namespace ring3::bench
