#include "monitor/control/stdio_monitor.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "monitor/terminal.h"

namespace ring3 {
namespace {

class StandardOutput final : public Connection {
 public:
  void Send(std::string_view bytes) override {
    WriteFully(STDOUT_FILENO, {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
  }
  void Close() override {}
};

}  // namespace

StdioMonitor::~StdioMonitor() {
  if (!thread_.joinable()) return;
  close(stop_pipe_[1]);
  thread_.join();
  close(stop_pipe_[0]);
}

void StdioMonitor::ReadInput() {
  if (pipe2(stop_pipe_, O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
  thread_ = StartQuietThread([this] { ReadLoop(); });
}

void StdioMonitor::Type(std::string_view bytes) {
  if (!session_) session_ = factory_(std::make_shared<StandardOutput>(), true);
  session_->Receive(bytes);
}

void StdioMonitor::ReadLoop() {
  session_ = factory_(std::make_shared<StandardOutput>(), false);
  pollfd waits[] = {{STDIN_FILENO, POLLIN, 0}, {stop_pipe_[0], POLLIN, 0}};
  char bytes[512];
  for (;;) {
    if (poll(waits, 2, -1) < 0 && errno != EINTR) return;
    if (waits[1].revents) return;
    const ssize_t n = read(STDIN_FILENO, bytes, sizeof bytes);
    if (n <= 0) return;
    session_->Receive({bytes, static_cast<size_t>(n)});
  }
}

}  // namespace ring3
