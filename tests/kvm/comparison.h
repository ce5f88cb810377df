// Runs scenes on KVM and on ring3 in both ways, and keeps the account of what agreed.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/kvm/subjects.h"
#include "tests/translator/kick_timer.h"

namespace ring3::kvm_test {

/// Where `actual` is not `expected`, a line each: registers with their hidden parts, tables, memory, port accesses.
std::string Differences(const Result& expected, const Result& actual);

/// KVM is known to do otherwise than the manual says, and ring3 follows the manual.
struct KnownDeviation {
  std::string row;  // begins so
  bool interpreting_only;
  /// A regular expression found in the differences, so that others in the same row are still noticed.
  std::string difference;
  std::string reason;  // with the manual's section
};
const std::vector<KnownDeviation>& KnownDeviations();

/// Rows that an interpreting KVM answers, but not as a processor: there is nothing to learn from it.
struct Gap {
  std::string row;  // begins so
  std::string reason;
};
const std::vector<Gap>& GapsOfInterpretingKvm();

/// Those that all cases share; null where /dev/kvm cannot be used, which it prints in the words that ctest takes for a
/// skipped test.
KvmSubject* SharedKvm();

class Sweep {
 public:
  explicit Sweep(std::string family);
  /// Prints the account; fails the test case when something differed or nothing could be compared.
  void Finish();

  /// True when there is something to ask.
  bool Usable() const { return kvm_ != nullptr; }
  void Try(const std::string& row, const Scene& scene);

 private:
  bool NotAsked(const std::string& row, const Scene& scene);
  bool Lacking(const Scene& scene, const Result& kvm, const Result& ring3) const;
  void Fail(const std::string& row, const std::string& who, const Scene& scene, const std::string& differences);

  std::string family_;
  KvmSubject* kvm_;
  Ring3Subject interpreter_{true}, translator_{false};
  KickTimer watchdog_;  // ends runs that would go on for ever
  unsigned trials_ = 0, agreed_ = 0, failed_ = 0;
  std::map<std::string, unsigned> lacking_, deviations_;  // by row, by reason
  std::set<std::string> answered_;
  std::map<std::string, unsigned> failed_rows_;
  std::string failures_;
};

}  // namespace ring3::kvm_test
