#include "monitor/qmp/session.h"

#include <chrono>

namespace ring3::qmp {
namespace {

constexpr const char* kGeneric = "GenericError";

Json MakeError(const char* error_class, const std::string& description) {
  return {{"error", {{"class", error_class}, {"desc", description}}}};
}

Json TimeStamp() {
  using namespace std::chrono;
  const auto now = duration_cast<microseconds>(system_clock::now().time_since_epoch()).count();
  return {{"seconds", now / 1'000'000}, {"microseconds", now % 1'000'000}};
}

std::string Line(const Json& object) { return object.dump(-1, ' ', false, Json::error_handler_t::replace) + "\r\n"; }

std::string_view NameOf(ShutdownCause cause) {
  switch (cause) {
    case ShutdownCause::kGuestShutdown:
      return "guest-shutdown";
    case ShutdownCause::kGuestReset:
      return "guest-reset";
    case ShutdownCause::kGuestPanic:
      return "guest-panic";
    case ShutdownCause::kHostQuit:
      return "host-qmp-quit";
    case ShutdownCause::kHostError:
      return "host-error";
  }
  return "";
}

class QmpSession final : public Session, private ControlListener {
 public:
  QmpSession(const SessionContext& context, std::shared_ptr<Connection> connection)
      : context_(context),
        connection_(std::move(connection)),
        dialogue_(
            [this](const std::string& command, const Json& arguments) {
              return context_.calls.Call([&] { return Execute(context_.commands, command, arguments); });
            },
            [this](std::string_view line) { connection_->Send(line); }) {
    context_.calls.Call([this] { context_.commands.control.AddListener(this); });
  }
  ~QmpSession() override {
    context_.calls.Call([this] { context_.commands.control.RemoveListener(this); });
  }

  void Receive(std::string_view bytes) override { dialogue_.Receive(bytes); }

 private:
  void Event(std::string_view name, const Json& data = Json()) {
    if (!dialogue_.Negotiated()) return;
    Json event = {{"event", name}, {"timestamp", TimeStamp()}};
    if (!data.is_null()) event["data"] = data;
    connection_->Send(Line(event));
  }

  // The vCPU thread's.
  void Stopped(const DebugEvent&) override { Event("STOP"); }
  void Resumed() override { Event("RESUME"); }
  void WasReset(bool by_guest) override {
    Event("RESET", {{"guest", by_guest}, {"reason", by_guest ? "guest-reset" : "host-qmp-system-reset"}});
  }
  void PowerButtonPressed() override { Event("POWERDOWN"); }
  void ShuttingDown(ShutdownCause cause, int) override {
    const bool by_guest = cause != ShutdownCause::kHostQuit && cause != ShutdownCause::kHostError;
    Event("SHUTDOWN", {{"guest", by_guest}, {"reason", NameOf(cause)}});
  }
  void TrayMoved(const std::string& device, bool open) override {
    Event("DEVICE_TRAY_MOVED", {{"device", device}, {"id", device}, {"tray-open", open}});
  }

  const SessionContext context_;
  const std::shared_ptr<Connection> connection_;
  Dialogue dialogue_;
};

class MonitorSession final : public Session {
 public:
  MonitorSession(const SessionContext& context, std::shared_ptr<Connection> connection, bool echo)
      : context_(context), connection_(std::move(connection)), echo_(echo) {
    connection_->Send("ring3 " RING3_VERSION " monitor - type 'help' for more information\r\n(qemu) ");
  }

  void Receive(std::string_view bytes) override {
    constexpr char kBackspace = '\b', kDelete = '\x7F';
    for (char byte : bytes) {
      if (byte == '\n' || (echo_ && byte == '\r')) {
        if (echo_) connection_->Send("\r\n");
        Execute();
      } else if (echo_ && (byte == kBackspace || byte == kDelete)) {
        if (line_.empty()) continue;
        line_.pop_back();
        connection_->Send("\b \b");
      } else if (line_.size() < kLongestLine) {
        line_.push_back(byte);
        if (echo_) connection_->Send({&byte, 1});
      }
    }
  }

 private:
  static constexpr size_t kLongestLine = 16 * 1024;

  void Execute() {
    const std::string line = std::exchange(line_, {});
    const std::string printed = context_.calls.Call([&] { return context_.commands.monitor.Execute(line); });
    std::string text;
    for (char c : printed) text += c == '\n' ? std::string("\r\n") : std::string(1, c);
    connection_->Send(text + "(qemu) ");
  }

  const SessionContext context_;
  const std::shared_ptr<Connection> connection_;
  const bool echo_;
  std::string line_;
};

}  // namespace

Dialogue::Dialogue(Executor execute, Sender send)
    : execute_(std::move(execute)),
      send_(std::move(send)),
      stream_({.object = [this](std::string_view text) { Object(text); },
               .rubbish = [this](const std::string& why) { Send(MakeError(kGeneric, why)); }}) {
  Send({{"QMP", {{"version", Version()}, {"capabilities", Json::array()}}}});
}

void Dialogue::Send(const Json& object) { send_(Line(object)); }

void Dialogue::Object(std::string_view text) {
  const Json request = Json::parse(text, nullptr, false);
  if (request.is_discarded()) return Send(MakeError(kGeneric, "Invalid JSON syntax"));
  Json answer;
  try {
    answer = {{"return", Answer(request)}};
  } catch (const CommandError& error) {
    answer = MakeError(error.error_class, error.what());
  }
  if (request.contains("id")) answer["id"] = request["id"];
  Send(answer);
}

Json Dialogue::Answer(const Json& request) {
  for (const auto& [key, value] : request.items()) {
    if (key != "execute" && key != "arguments" && key != "id")
      throw CommandError(kGeneric, "QMP input member '" + key + "' is unexpected");
  }
  if (!request.contains("execute")) throw CommandError(kGeneric, "QMP input lacks member 'execute'");
  if (!request["execute"].is_string()) throw CommandError(kGeneric, "QMP input member 'execute' must be a string");
  const Json arguments = request.value("arguments", Json::object());
  if (!arguments.is_object()) throw CommandError(kGeneric, "QMP input member 'arguments' must be an object");
  const std::string command = request["execute"];
  const bool negotiation = command == "qmp_capabilities";
  if (negotiation == negotiated_) {
    throw CommandError("CommandNotFound", negotiation ? "Capabilities negotiation is already complete, command ignored"
                                                      : "Expecting capabilities negotiation with 'qmp_capabilities'");
  }
  if (!negotiation) return execute_(command, arguments);
  for (const auto& [key, value] : arguments.items()) {
    if (key != "enable") throw CommandError(kGeneric, "Parameter '" + key + "' is unexpected");
    if (!value.is_array()) throw CommandError(kGeneric, "Invalid parameter type for 'enable', expected: array");
    if (!value.empty())
      throw CommandError(kGeneric, "Capability " + value[0].dump(-1, ' ', false, Json::error_handler_t::replace) +
                                       " is not available");
  }
  negotiated_ = true;
  return Json::object();
}

std::unique_ptr<Session> MakeQmpSession(const SessionContext& context, std::shared_ptr<Connection> connection) {
  return std::make_unique<QmpSession>(context, std::move(connection));
}

std::unique_ptr<Session> MakeMonitorSession(const SessionContext& context, std::shared_ptr<Connection> connection,
                                            bool echo) {
  return std::make_unique<MonitorSession>(context, std::move(connection), echo);
}

}  // namespace ring3::qmp
