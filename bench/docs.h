// The documentation's pages and charts from one run.
#pragma once

#include <string>

#include "bench/report.h"

namespace ring3::bench {

/// Writes benchmarks.md and its charts.
void WriteBenchmarkPage(const std::string& folder, const Results& results, const std::vector<Machine>& machines,
                        const Facts& facts);
/// Writes ablation.md.
void WriteAblationPage(const std::string& folder, const Results& results, const std::vector<Machine>& machines,
                       const Facts& facts);

/// In Markdown: for each machine without a fast path what that costs.
std::string AblationTable(const Results& results, const std::vector<Machine>& machines);

}  // namespace ring3::bench
