#include "bench/docs.h"

#include <fmt/core.h>

#include <algorithm>
#include <fstream>

#include "bench/chart.h"
#include "monitor/cpu/fault.h"
#include "translator/fast_paths.h"

extern "C" const char ring3_bench_page_begin[], ring3_bench_page_end[];
extern "C" const char ring3_bench_ablation_page_begin[], ring3_bench_ablation_page_end[];

namespace ring3::bench {
namespace {

using Replacements = std::vector<std::pair<std::string, std::string>>;

/// The template with each @name@ replaced.
void WritePage(const std::string& path, std::string text, const Replacements& replacements) {
  for (const auto& [name, value] : replacements) {
    const std::string mark = "@" + name + "@";
    for (size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at + value.size()))
      text.replace(at, mark.size(), value);
  }
  std::ofstream file(path);
  file << text;
  file.close();
  if (!file) throw UsageError(fmt::format("bench --docs: {} cannot be written", path));
}

std::string FactLines(const Facts& facts) {
  std::string text;
  for (const auto& [name, value] : facts) text += fmt::format("- {}: {}\n", name, value);
  return text;
}

/// Each machine's figures, as ratios to the native one's where `to_native`.
Chart SuiteChart(const Results& results, const std::string& suite, const std::vector<Machine>& machines,
                 bool to_native) {
  Chart chart;
  std::vector<const Machine*> shown;
  for (const Machine& machine : machines) {
    const bool itself = to_native && machine.kind == MachineKind::kNative;
    if (itself || !HasFigures(results, suite, machine.name)) continue;
    shown.push_back(&machine);
    chart.series.push_back(machine.title);
  }
  for (const Row& row : results.Rows()) {
    if (row.suite != suite || (to_native && !row.Of("native"))) continue;
    Bars bars{.label = row.name, .values = {}};
    for (const Machine* machine : shown) {
      const auto summary = to_native ? row.Ratio(machine->name, "native") : row.Of(machine->name);
      bars.values.push_back(summary ? std::optional(summary->median) : std::nullopt);
    }
    chart.rows.push_back(bars);
  }
  return chart;
}

/// The rows that a fast path speeds up by at least a twentieth, the greatest first.
std::string MostAffected(const Results& results, const std::string& machine) {
  constexpr double kWorthNaming = 1.05;
  constexpr size_t kMost = 5;
  std::vector<std::pair<double, std::string>> found;
  for (const Row& row : results.Rows()) {
    const auto ratio = row.Ratio(machine, "bt");
    if (ratio && ratio->low >= kWorthNaming) found.emplace_back(ratio->median, row.name);
  }
  std::sort(found.rbegin(), found.rend());
  if (found.size() > kMost) found.resize(kMost);
  std::string text;
  for (const auto& [ratio, name] : found)
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, ShortNumber(ratio));
  return text.empty() ? "–" : text;
}

std::string Description(const std::string& path) {
  const auto found = FindFastPath(path);
  return found ? std::string(kFastPathRows[static_cast<unsigned>(*found)].description) : "all of the above at once";
}

}  // namespace

void WriteBenchmarkPage(const std::string& folder, const Results& results, const std::vector<Machine>& machines,
                        const Facts& facts) {
  Replacements replacements{{"FACTS", FactLines(facts)}};
  for (const auto& [suite, title] : {std::pair{"nano", "Cycles per operation (log scale, shorter is better)"},
                                     {"user", "Programs: times native (log scale, shorter is better)"},
                                     {"guest", "Whole guest: times native (log scale, shorter is better)"}}) {
    const std::string name(suite);
    Chart chart = SuiteChart(results, name, machines, name != "nano");
    chart.title = title;
    chart.axis = name == "nano" ? "cycles of the time-stamp counter" : "time / native time";
    if (name != "nano") chart.mark = 1;
    WriteChart(chart, folder, "benchmarks-" + name);
    replacements.emplace_back("TABLE-" + name, Table(results, name, machines));
  }
  replacements.emplace_back("TABLE-io", Table(results, "io", machines));
  WritePage(folder + "/benchmarks.md", std::string(ring3_bench_page_begin, ring3_bench_page_end), replacements);
}

std::string AblationTable(const Results& results, const std::vector<Machine>& machines) {
  std::string text =
      "| without | what it is | nano | user | guest | rows that slow down most |\n|---|---|---:|---:|---:|---|\n";
  for (const Machine& machine : machines) {
    if (machine.without.empty()) continue;
    text += fmt::format("| {} | {} |", machine.without, Description(machine.without));
    for (const char* suite : {"nano", "user", "guest"}) {
      const auto mean = GeometricMean(results, suite, machine.name, "bt");
      text += mean ? fmt::format(" {} |", ShortNumber(*mean)) : " – |";
    }
    text += " " + MostAffected(results, machine.name) + " |\n";
  }
  return text;
}

void WriteAblationPage(const std::string& folder, const Results& results, const std::vector<Machine>& machines,
                       const Facts& facts) {
  WritePage(folder + "/ablation.md", std::string(ring3_bench_ablation_page_begin, ring3_bench_ablation_page_end),
            {{"FACTS", FactLines(facts)}, {"TABLE", AblationTable(results, machines)}});
}

}  // namespace ring3::bench
