// The table of checks: each compares what a real CPU shows with what this one showed, and prints one line.
#pragma once

#include <stdint.h>

namespace demo {

/// Prints a section's heading.
void BeginSection(const char* title);

/// One check. Returns whether it held.
bool Check(const char* what, uint32_t expected, uint32_t seen);
bool CheckTrue(const char* what, bool holds);
/// Counts a check whose line the caller prints.
void Count(bool holds);

struct Tally {
  unsigned checks = 0, differ = 0;
};
Tally CurrentTally();

}  // namespace demo
