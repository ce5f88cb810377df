// The part of the command line that is about controlling a running machine.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace ring3 {

struct Options;

struct ControlOptions {
  std::string gdb;                    // empty: none; as --gdb has it
  bool gdb_default = false;           // -s
  bool start_paused = false;          // -S
  std::vector<std::string> qmp;       // addresses
  std::vector<std::string> monitors;  // stdio, none or addresses
  std::string name;                   // of the guest

  bool MonitorOnStdio() const { return std::find(monitors.begin(), monitors.end(), "stdio") != monitors.end(); }
};

void AddControlOptions(CLI::App& app, ControlOptions& control);
/// Finishes the options; throws UsageError for what is unknown, and for what does not go together.
void CheckControlOptions(Options& options);

}  // namespace ring3
