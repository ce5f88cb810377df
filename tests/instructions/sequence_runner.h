// Runs random programs natively, translated and interpreted.
#pragma once

#include <map>
#include <string>

#include "tests/instructions/sequence.h"

namespace ring3 {

class SequenceRunner {
 public:
  explicit SequenceRunner(TranslatorOptions options = {.cache_bytes = 1u << 20});

  /// What differs between the engines and the processor; empty when nothing does or the program cannot be compared.
  std::string Difference(const Program& program);

  uint64_t Compared() const { return compared_; }
  /// Programs that ended with this exception, natively.
  uint64_t Ended(uint32_t vector) const { return endings_.contains(vector) ? endings_.at(vector) : 0; }
  std::string Endings() const;
  TestMachine& Translated() { return translated_; }

 private:
  bool SeesItsPrivilege(Program program);
  bool ExecutesDecimals(const Program& program);
  TestMachine translated_, interpreted_;
  uint64_t compared_ = 0;
  std::map<uint32_t, uint64_t> endings_;
};

}  // namespace ring3
