#include "tests/machine/control_client.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <stdexcept>
#include <thread>

namespace ring3::test {
namespace {

constexpr int kPatienceSeconds = 60;

int Connect(const std::string& path) {
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  std::strncpy(name.sun_path, path.c_str(), sizeof name.sun_path - 1);
  for (int tries = 0; tries < kPatienceSeconds * 100; ++tries) {
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0) return fd;
    close(fd);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  throw std::runtime_error("nobody listens at " + path);
}

}  // namespace

SocketClient::SocketClient(const std::string& path) : fd_(Connect(path)) {
  const timeval patience{.tv_sec = kPatienceSeconds, .tv_usec = 0};
  setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
}

SocketClient::~SocketClient() { close(fd_); }

void SocketClient::Send(const std::string& bytes) const {
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t n = send(fd_, bytes.data() + done, bytes.size() - done, MSG_NOSIGNAL);
    if (n <= 0) return;
    done += static_cast<size_t>(n);
  }
}

std::string SocketClient::ReadUntil(const std::string& end) {
  char bytes[4096];
  for (;;) {
    const size_t at = waiting_.find(end);
    if (!end.empty() && at != std::string::npos) {
      const std::string text = waiting_.substr(0, at + end.size());
      waiting_.erase(0, text.size());
      return text;
    }
    const ssize_t n = recv(fd_, bytes, sizeof bytes, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return std::exchange(waiting_, {});
    waiting_.append(bytes, static_cast<size_t>(n));
  }
}

std::string SocketClient::ReadAll() { return ReadUntil(""); }

QmpClient::QmpClient(const std::string& path, bool negotiate) : socket_(path) {
  const nlohmann::json greeting = Read();
  if (!greeting.contains("QMP")) throw std::runtime_error("no greeting: " + greeting.dump());
  if (negotiate) Ask("qmp_capabilities");
}

nlohmann::json QmpClient::Read() {
  last_line_ = socket_.ReadUntil("\n");
  return nlohmann::json::parse(last_line_, nullptr, false);
}

nlohmann::json QmpClient::Ask(const std::string& command, const nlohmann::json& arguments) {
  socket_.Send(nlohmann::json{{"execute", command}, {"arguments", arguments}}.dump() + "\n");
  for (;;) {
    const nlohmann::json object = Read();
    if (!object.is_object()) throw std::runtime_error("no answer to " + command + ", but: " + last_line_);
    if (!object.contains("event")) return object;
    events_.push_back(object["event"]);
  }
}

bool QmpClient::Sees(const std::string& event) {
  for (;;) {
    if (std::find(events_.begin(), events_.end(), event) != events_.end()) return true;
    const nlohmann::json object = Read();
    if (!object.is_object()) return false;
    if (object.contains("event")) events_.push_back(object["event"]);
  }
}

}  // namespace ring3::test
