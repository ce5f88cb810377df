// The human monitor on standard input and output, alone (--monitor stdio) or besides the guest's console (Ctrl-A c).
#pragma once

#include <functional>
#include <memory>
#include <string_view>
#include <thread>

#include "monitor/control/socket_server.h"

namespace ring3 {

class StdioMonitor {
 public:
  using Factory = std::function<std::unique_ptr<Session>(std::shared_ptr<Connection>, bool echo)>;

  /// The monitor shows itself when it is first typed to. Output goes to standard output.
  explicit StdioMonitor(Factory factory) : factory_(std::move(factory)) {}
  ~StdioMonitor();
  StdioMonitor(const StdioMonitor&) = delete;

  /// From now on reads standard input on a thread of its own, which leaves the terminal as it is.
  void ReadInput();
  /// What is typed in a raw terminal. One thread only.
  void Type(std::string_view bytes);

 private:
  void ReadLoop();

  const Factory factory_;
  std::unique_ptr<Session> session_;
  int stop_pipe_[2] = {-1, -1};
  std::thread thread_;
};

}  // namespace ring3
