// What was measured, and the few statistics made of it.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace ring3::bench {

struct Summary {
  double median = 0, low = 0, high = 0;
};

/// Median and quartiles. Empty without values.
std::optional<Summary> Summarise(std::vector<double> values);

/// Samples of one machine in one row; one list for each round that has any.
using Rounds = std::map<unsigned, std::vector<double>>;

struct Row {
  std::string suite, name, unit;
  std::map<std::string, Rounds> samples;       // by machine
  std::map<std::string, std::string> missing;  // by machine: why there is no figure
  std::map<std::string, std::string> results;  // by machine: what the workload computed

  /// All samples of a machine, over the rounds.
  std::optional<Summary> Of(const std::string& machine) const;
  /// Of the rounds' ratios: what slows the host for a while slows both sides of a round.
  std::optional<Summary> Ratio(const std::string& above, const std::string& below) const;
};

class Results {
 public:
  /// The row with this name, made if new. Rows keep the order in which they were made.
  Row& At(const std::string& suite, const std::string& name, const std::string& unit);
  const std::vector<Row>& Rows() const { return rows_; }
  /// Rows whose result differs between machines, described; empty if none.
  std::vector<std::string> Disagreements() const;

 private:
  std::vector<Row> rows_;
};

/// Geometric mean of the rows' median ratios, over those rows of the suite that have it.
std::optional<double> GeometricMean(const Results& results, const std::string& suite, const std::string& above,
                                    const std::string& below);

}  // namespace ring3::bench
