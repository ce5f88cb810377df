// A QMP client's conversation: greeting, negotiation, commands, events. Source: QEMU's "QMP protocol specification".
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "monitor/control/machine_control.h"
#include "monitor/control/socket_server.h"
#include "monitor/control/vcpu_calls.h"
#include "monitor/qmp/commands.h"
#include "monitor/qmp/json_stream.h"

namespace ring3::qmp {

/// Objects in, objects out: what is independent of threads and sockets.
class Dialogue {
 public:
  /// Executes a command that was negotiated; throws CommandError.
  using Executor = std::function<Json(const std::string& command, const Json& arguments)>;
  using Sender = std::function<void(std::string_view line)>;

  /// Sends the greeting.
  Dialogue(Executor execute, Sender send);
  void Receive(std::string_view bytes) { stream_.Feed(bytes); }
  /// Whether events may be sent. Any thread.
  bool Negotiated() const { return negotiated_; }

 private:
  void Object(std::string_view text);
  Json Answer(const Json& request);
  void Send(const Json& object);

  const Executor execute_;
  const Sender send_;
  std::atomic<bool> negotiated_ = false;
  JsonStream stream_;
};

struct SessionContext {
  CommandContext commands;
  VcpuCalls& calls;
};

std::unique_ptr<Session> MakeQmpSession(const SessionContext& context, std::shared_ptr<Connection> connection);
/// The human monitor: lines in, text and a prompt out; with `echo` also what is typed, for terminals that do not.
std::unique_ptr<Session> MakeMonitorSession(const SessionContext& context, std::shared_ptr<Connection> connection,
                                            bool echo);

}  // namespace ring3::qmp
