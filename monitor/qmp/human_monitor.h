// The human monitor: commands as words on a line, answers as text. vCPU thread.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "monitor/control/machine_control.h"

namespace ring3::qmp {

class HumanMonitor {
 public:
  HumanMonitor(MachineControl& control, std::string guest_name)
      : control_(control), guest_name_(std::move(guest_name)) {}

  /// Executes one line. What it prints; each line ends with a newline. Unknown commands and wrong arguments are printed
  /// as errors.
  std::string Execute(const std::string& line);

 private:
  using Words = std::vector<std::string>;
  struct Command {
    std::string_view name, short_name, arguments, help;
    std::string (HumanMonitor::*execute)(const Words& words);
  };
  static std::span<const Command> Commands();

  std::string Help(const Words& words);
  std::string Info(const Words& words);
  std::string Stop(const Words& words);
  std::string Continue(const Words& words);
  std::string Reset(const Words& words);
  std::string PowerDown(const Words& words);
  std::string Quit(const Words& words);
  std::string SendKeys(const Words& words);
  std::string MouseMove(const Words& words);
  std::string MouseButton(const Words& words);
  std::string ScreenDump(const Words& words);
  std::string Change(const Words& words);
  std::string Eject(const Words& words);
  std::string DumpLinear(const Words& words);
  std::string DumpPhysical(const Words& words);
  std::string Print(const Words& words);

  std::string InfoBlock();
  std::string InfoStatus();

  MachineControl& control_;
  const std::string guest_name_;
};

/// The registers as "info registers" shows them.
std::string DescribeRegisters(const CpuState& state, bool a20_enabled);
/// "paused", "running" and so on, as QMP names them.
std::string_view NameOf(RunState state);

}  // namespace ring3::qmp
