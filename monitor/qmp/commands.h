// The commands of QMP (QEMU Machine Protocol) that ring3 has, each on the vCPU thread. Source: QEMU's QMP reference.
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include "monitor/control/machine_control.h"
#include "monitor/qmp/human_monitor.h"

namespace ring3::qmp {

using Json = nlohmann::json;

/// An error as QMP reports it.
struct CommandError : std::runtime_error {
  CommandError(const char* error_class, const std::string& description)
      : std::runtime_error(description), error_class(error_class) {}
  const char* error_class;
};

/// What commands work on.
struct CommandContext {
  MachineControl& control;
  HumanMonitor& monitor;
  std::string guest_name;
};

/// Executes a command; "qmp_capabilities" is the session's. Arguments are checked against the command's own list first.
/// Throws CommandError.
Json Execute(const CommandContext& context, const std::string& command, const Json& arguments);

/// The names of all commands.
std::vector<std::string_view> CommandNames();

/// The version object of the greeting and of query-version.
Json Version();

}  // namespace ring3::qmp
