#include "monitor/control/servers.h"

#include <utility>

#include "monitor/gdb/server.h"
#include "monitor/qmp/session.h"

namespace ring3 {
namespace {

constexpr const char* kDefaultGdb = "tcp::1234";
constexpr size_t kMostClients = 16;

}  // namespace

SocketAddress GdbAddress(const ControlOptions& options) {
  if (options.gdb.empty()) return ParseSocketAddress(kDefaultGdb, "-s");
  return ParseSocketAddress(options.gdb.starts_with(':') ? "tcp:" + options.gdb : options.gdb, "--gdb");
}

ControlServers::ControlServers(const ControlOptions& options, MachineControl& control, VcpuCalls& calls)
    : options_(options),
      control_(control),
      calls_(calls),
      monitor_(control, options.name),
      stdio_([this](std::shared_ptr<Connection> client, bool echo) { return MakeMonitor(std::move(client), echo); }) {
  if (options.start_paused) control_.Pause(RunState::kPrelaunch);
  try {
    if (options.gdb_default || !options.gdb.empty()) AddGdb();
    for (const std::string& place : options.qmp) AddQmp(place);
    for (const std::string& place : options.monitors) AddMonitor(place);
  } catch (...) {
    calls_.Close();  // clients of the servers that are there already wait for nobody
    throw;
  }
}

void ControlServers::AddQmp(const std::string& place) {
  const qmp::SessionContext context{{control_, monitor_, options_.name}, calls_};
  AddServer(ParseSocketAddress(place, "--qmp"), "--qmp", kMostClients,
            [context](std::shared_ptr<Connection> client) { return qmp::MakeQmpSession(context, std::move(client)); });
}

void ControlServers::AddGdb() {
  const gdb::ServerContext context{control_, calls_,
                                   [this](const std::string& command) { return monitor_.Execute(command); }};
  AddServer(GdbAddress(options_), options_.gdb.empty() ? "-s" : "--gdb", 1,
            [context](std::shared_ptr<Connection> client) { return gdb::MakeSession(context, std::move(client)); });
}

void ControlServers::AddMonitor(const std::string& place) {
  if (place == "none" || place == "null") return;
  control_.AddCharacterDevice({"compat_monitor0", place});
  if (place == "stdio") return stdio_.ReadInput();
  AddServer(ParseSocketAddress(place, "--monitor"), "--monitor", kMostClients,
            [this](std::shared_ptr<Connection> client) { return MakeMonitor(std::move(client), false); });
}

std::unique_ptr<Session> ControlServers::MakeMonitor(std::shared_ptr<Connection> client, bool echo) {
  return qmp::MakeMonitorSession({{control_, monitor_, options_.name}, calls_}, std::move(client), echo);
}

void ControlServers::AddServer(SocketAddress address, const std::string& option, size_t most_clients,
                               SocketServer::Factory factory) {
  if (address.wait) {
    ++awaited_;
    control_.Pause(RunState::kPrelaunch);
  }
  auto first = [this, waits = address.wait]() mutable {
    if (!std::exchange(waits, false)) return;
    calls_.Call([this] {
      if (--awaited_ == 0 && !options_.start_paused) control_.Resume();
    });
  };
  servers_.push_back(std::make_unique<SocketServer>(address, option, most_clients,
                                                    [first, factory](std::shared_ptr<Connection> client) mutable {
                                                      first();
                                                      return factory(std::move(client));
                                                    }));
}

}  // namespace ring3
