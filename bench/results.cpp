#include "bench/results.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <set>

namespace ring3::bench {
namespace {

/// Between the two nearest of the sorted values.
double Quantile(const std::vector<double>& sorted, double part) {
  const double at = part * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (at - static_cast<double>(below));
}

}  // namespace

std::optional<Summary> Summarise(std::vector<double> values) {
  if (values.empty()) return std::nullopt;
  std::sort(values.begin(), values.end());
  return Summary{Quantile(values, 0.5), Quantile(values, 0.25), Quantile(values, 0.75)};
}

std::optional<Summary> Row::Of(const std::string& machine) const {
  std::vector<double> all;
  const auto rounds = samples.find(machine);
  if (rounds == samples.end()) return std::nullopt;
  for (const auto& [round, values] : rounds->second) all.insert(all.end(), values.begin(), values.end());
  return Summarise(std::move(all));
}

std::optional<Summary> Row::Ratio(const std::string& above, const std::string& below) const {
  const auto upper = samples.find(above), lower = samples.find(below);
  if (upper == samples.end() || lower == samples.end()) return std::nullopt;
  std::vector<double> ratios;
  for (const auto& [round, values] : upper->second) {
    const auto other = lower->second.find(round);
    if (other == lower->second.end()) continue;
    const auto a = Summarise(values), b = Summarise(other->second);
    if (a && b && b->median > 0) ratios.push_back(a->median / b->median);
  }
  return Summarise(std::move(ratios));
}

Row& Results::At(const std::string& suite, const std::string& name, const std::string& unit) {
  for (Row& row : rows_) {
    if (row.suite == suite && row.name == name) return row;
  }
  rows_.push_back({.suite = suite, .name = name, .unit = unit});
  return rows_.back();
}

std::vector<std::string> Results::Disagreements() const {
  std::vector<std::string> found;
  for (const Row& row : rows_) {
    std::set<std::string> different;
    std::string text;
    for (const auto& [machine, result] : row.results) {
      different.insert(result);
      text += fmt::format(" {}={}", machine, result);
    }
    if (different.size() > 1) found.push_back(row.name + ":" + text);
  }
  return found;
}

std::optional<double> GeometricMean(const Results& results, const std::string& suite, const std::string& above,
                                    const std::string& below) {
  double logarithms = 0;
  int count = 0;
  for (const Row& row : results.Rows()) {
    const auto ratio = row.Ratio(above, below);
    if (row.suite != suite || !ratio || ratio->median <= 0) continue;
    logarithms += std::log(ratio->median);
    ++count;
  }
  if (count == 0) return std::nullopt;
  return std::exp(logarithms / count);
}

}  // namespace ring3::bench
