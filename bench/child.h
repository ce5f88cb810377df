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
};

struct ChildResult {
  std::vector<StampedLine> lines;  // of standard output, without their line ends
  std::string errors;              // standard error
  int exit_code = 0;               // 128 + n when signal n ended it
  bool timed_out = false;
  double cpu_seconds = 0;  // user and system time
  long peak_kilobytes = 0;

  /// One line about an end that was not as it should be.
  std::string Complaint() const;
};

/// Runs `command` (found through PATH) with nothing to read, and kills it after `time_limit` seconds.
ChildResult RunChild(const std::vector<std::string>& command, double time_limit);

/// Whether PATH has such a program.
bool HasProgram(const std::string& name);

}  // namespace ring3::bench
