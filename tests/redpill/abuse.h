// Byte sequences that would mean something to the host, if they reached it: system calls, transfers to its segments,
// its bases and keys, prefixes that 64-bit mode reads differently.
#pragma once

#include <string>
#include <vector>

#include "tests/translator/program.h"

namespace ring3 {

struct Abuse {
  std::string name;
  Bytes code;
  bool system = false;  // at CPL 0 it would take the machine apart: for CPL 3 alone
};

/// INT n for each n.
std::vector<Abuse> Interrupts();
/// Everything else; none longer than eight bytes, none an endless loop.
std::vector<Abuse> HostPatterns();

/// The pattern as it stands; and as the displacement and immediate of a MOV that is jumped into at each of its bytes.
std::vector<Abuse> Disguises(const Abuse& pattern);

/// A program of it: registers from a seed, the stack set up so that far returns go to the host's code selector.
Program MakeAbuse(const Abuse& abuse, unsigned cpl);

}  // namespace ring3
