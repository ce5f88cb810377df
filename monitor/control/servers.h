// The sockets through which a running machine is controlled, as the command line asks for them.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "monitor/control/control_options.h"
#include "monitor/control/machine_control.h"
#include "monitor/control/socket_server.h"
#include "monitor/control/stdio_monitor.h"
#include "monitor/control/vcpu_calls.h"
#include "monitor/qmp/human_monitor.h"

namespace ring3 {

/// Where --gdb or -s wants gdb to come. Throws UsageError.
SocketAddress GdbAddress(const ControlOptions& options);

class ControlServers {
 public:
  /// Listens; the guest may be stopped until clients are there. vCPU thread, as is the destructor, before which `calls`
  /// must have been closed. Throws UsageError.
  ControlServers(const ControlOptions& options, MachineControl& control, VcpuCalls& calls);
  ControlServers(const ControlServers&) = delete;

  /// What is typed to the monitor that shares a terminal with the guest. One thread only.
  void TypeToMonitor(std::string_view bytes) { stdio_.Type(bytes); }

 private:
  void AddServer(SocketAddress address, const std::string& option, size_t most_clients, SocketServer::Factory factory);
  void AddGdb();
  void AddQmp(const std::string& place);
  void AddMonitor(const std::string& place);
  std::unique_ptr<Session> MakeMonitor(std::shared_ptr<Connection> client, bool echo);

  const ControlOptions& options_;
  MachineControl& control_;
  VcpuCalls& calls_;
  qmp::HumanMonitor monitor_;
  StdioMonitor stdio_;
  unsigned awaited_ = 0;  // servers without which the guest does not start
  std::vector<std::unique_ptr<SocketServer>> servers_;
};

}  // namespace ring3
