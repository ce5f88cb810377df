// A client of ring3's Unix sockets, for tests.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace ring3::test {

class SocketClient {
 public:
  /// Connects, trying for a while: the program under test has just been started.
  explicit SocketClient(const std::string& path);
  ~SocketClient();
  SocketClient(const SocketClient&) = delete;

  void Send(const std::string& bytes) const;
  /// Up to and with `end`; what was read until the connection ended or a minute passed.
  std::string ReadUntil(const std::string& end);
  /// Everything to the end of the connection.
  std::string ReadAll();

 private:
  int fd_;
  std::string waiting_;
};

/// One that speaks QMP.
class QmpClient {
 public:
  explicit QmpClient(const std::string& path, bool negotiate = true);

  nlohmann::json Read();
  /// The answer; events before it are kept.
  nlohmann::json Ask(const std::string& command, const nlohmann::json& arguments = nlohmann::json::object());
  /// Whether the event came already, or comes now.
  bool Sees(const std::string& event);
  SocketClient& Socket() { return socket_; }

 private:
  SocketClient socket_;
  std::string last_line_;
  std::vector<std::string> events_;
};

}  // namespace ring3::test
