// Options about controlling a running machine: --gdb, --qmp, --monitor and their relatives.
#include <CLI/CLI.hpp>
#include <algorithm>

#include "monitor/control/control_options.h"
#include "monitor/control/servers.h"
#include "monitor/cpu/fault.h"
#include "monitor/options.h"
#include "monitor/options_qemu.h"
#include "monitor/serial_console.h"

namespace ring3 {
namespace {

void CheckDebugger(const Options& options) {
  const ControlOptions& control = options.control;
  if (!control.gdb_default && control.gdb.empty()) return;
  GdbAddress(control);
  if (options.engine == EngineKind::kKvm) {
    throw UsageError("--gdb works with translated code only: leave --engine kvm out");
  }
  if (!options.lockstep.empty()) throw UsageError("--gdb and --lockstep do not go together");
}

}  // namespace

void AddControlOptions(CLI::App& app, ControlOptions& control) {
  app.add_option("--gdb", control.gdb, "let gdb connect: :PORT, tcp:HOST:PORT or unix:PATH");
  app.add_flag("-s", control.gdb_default, "the same as --gdb :1234");
  app.add_flag("-S", control.start_paused, "stop before the guest's first instruction, until told to go on");
  app.add_option("--qmp", control.qmp, "control socket that speaks QMP: unix:PATH or tcp:HOST:PORT");
  app.add_option_function<std::string>(
      "--control", [&control](const std::string& path) { control.qmp.push_back("unix:" + path); },
      "the same as --qmp unix:PATH; what ring3 type, ring3 quit and so on connect to");
  app.add_option("--monitor", control.monitors, "the human monitor: stdio, unix:PATH, tcp:HOST:PORT, none or null");
  app.add_option_function<std::string>(
      "--name", [&control](const std::string& text) { control.name = GuestName(text); },
      "the guest's name, as QMP tells it");
}

void CheckControlOptions(Options& options) {
  CheckDebugger(options);
  const ControlOptions& control = options.control;
  const bool controlled = control.start_paused || !control.qmp.empty() || !control.monitors.empty();
  if (controlled && !options.lockstep.empty()) {
    throw UsageError("--lockstep follows a machine that nobody stops: leave -S, --qmp, --control and --monitor out");
  }
  for (const std::string& place : control.qmp) ParseSocketAddress(place, "--qmp");
  for (const std::string& place : control.monitors) {
    if (place != "stdio" && place != "none" && place != "null") ParseSocketAddress(place, "--monitor");
  }
  const auto on_stdio = std::ranges::count(control.monitors, "stdio");
  if (on_stdio == 0) return;
  if (std::ranges::any_of(options.serials, SerialConsole::IsTerminal) || on_stdio > 1) {
    throw UsageError(
        "--monitor stdio and --serial stdio both want the terminal: leave one out (Ctrl-A c on the guest's console "
        "leads to the monitor, too)");
  }
}

}  // namespace ring3
