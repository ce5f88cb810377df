// gdb at a socket: one at a time, for the machine that runs.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "monitor/control/machine_control.h"
#include "monitor/control/socket_server.h"
#include "monitor/control/vcpu_calls.h"

namespace ring3::gdb {

/// What a server's sessions work on. All of it must outlive the server.
struct ServerContext {
  MachineControl& control;
  VcpuCalls& calls;
  /// Executes a command of the human monitor, on the vCPU thread.
  std::function<std::string(const std::string&)> monitor;
};

/// Stops the guest when gdb comes, and lets it go on, without gdb's stops, when gdb leaves in whatever way.
std::unique_ptr<Session> MakeSession(const ServerContext& context, std::shared_ptr<Connection> connection);

}  // namespace ring3::gdb
