// Runs trials of the sweep by number and keeps account of what came by and what differed.
#pragma once

#include <map>
#include <set>
#include <string>

#include "tests/instructions/trial_builder.h"

namespace ring3 {

class SweepRunner {
 public:
  SweepRunner();

  /// Trial `n`, natively, translated and interpreted. Does nothing where row and form do not go together.
  void Try(uint64_t n);

  uint64_t Compared() const { return compared_; }
  uint64_t Failed() const { return failed_; }
  /// What differs, some of each row.
  std::string Report() const;
  /// Rows and forms that no trial compared, a line each.
  std::string RowsMissed() const;
  std::string FormsMissed() const;
  /// Rows times forms: the trials before their kind repeats with other seeds.
  static uint64_t Product();

 private:
  void Compare(const SingleTrial& trial, const EncodingRow& row, uint64_t n);
  void Note(const std::string& name, const char* engine, const SingleTrial& trial, uint64_t n,
            const std::string& difference);

  TestMachine translated_, interpreted_;
  std::set<size_t> rows_seen_, forms_seen_;
  uint64_t compared_ = 0, failed_ = 0;
  std::map<std::string, unsigned> failed_by_name_;
  std::string report_;
};

}  // namespace ring3
