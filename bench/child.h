// Runs a program and notes when each of its lines arrived.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ring3::bench {

struct StampedLine {
  double seconds = 0;   // since the program was started
  uint64_t cycles = 0;  // of the host's time-stamp counter
  std::string text;
  double cpu_seconds = 0;    // that the program has used so far, all threads
  double own_mebibytes = 0;  // its memory without what it shares, which guest RAM is, and with its page tables
};

struct ChildResult {
  std::vector<StampedLine> lines;  // of standard output, without their line ends
  std::string errors;              // standard error
  int exit_code = 0;               // 128 + n when signal n ended it
  bool timed_out = false;

  /// One line about an end that was not as it should be.
  std::string Complaint() const;
};

/// Runs `command` (found through PATH) with nothing to read, and kills it after `time_limit` seconds.
ChildResult RunChild(const std::vector<std::string>& command, double time_limit);

/// Whether PATH has such a program.
bool HasProgram(const std::string& name);

}  // namespace ring3::bench
