// The rows of the user, guest and io suites, which run on a Linux: the guest's or the host's.
#pragma once

#include <string>
#include <vector>

#include "bench/options.h"

namespace ring3::bench {

/// How a row's figure comes about.
enum class Figure {
  kTotal,         // milliseconds of the whole
  kPerOperation,  // microseconds; the program's result is how many it did, in hexadecimal
  kBoot,          // seconds from the kernel's first line to the script's
  kIdle,          // part of a core that the process uses meanwhile, in percent
  kMemory,        // mebibytes at the end, beyond guest RAM
};

struct LinuxRow {
  std::string suite, name;
  Figure figure = Figure::kTotal;
  std::string commands;  // for a shell; empty: the program with the row's name
  RowUse use = RowUse::kNeither;
};

const char* UnitOf(Figure figure);

/// The rows of a suite that the options ask for.
std::vector<LinuxRow> LinuxRows(const std::string& suite, const BenchOptions& options);

/// The script that runs `rows`; `programs` is the path of our program.
std::string LinuxScript(const std::vector<LinuxRow>& rows, const std::string& programs, bool quick);

}  // namespace ring3::bench
