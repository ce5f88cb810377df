#include "monitor/serial_line.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <mutex>
#include <thread>
#include <utility>

#include "monitor/control/socket_server.h"
#include "monitor/cpu/fault.h"

namespace ring3 {
namespace {

constexpr const char* kOption = "--serial";

class NullLine final : public SerialLine {
 public:
  void Write(std::span<const uint8_t>) override {}
  std::string Name() const override { return "null"; }
};

/// One client at a time.
class SocketLine final : public SerialLine {
 public:
  SocketLine(const SocketAddress& address, Receive receive)
      : name_(address.ToString()),
        receive_(std::move(receive)),
        server_(address, kOption, 1, [this](std::shared_ptr<Connection> client) { return Join(std::move(client)); }) {}

  void Write(std::span<const uint8_t> bytes) override {
    const std::lock_guard lock(mutex_);
    if (client_) client_->Send({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }
  std::string Name() const override { return name_; }

 private:
  class Caller final : public Session {
   public:
    explicit Caller(SocketLine& line) : line_(line) {}
    ~Caller() override {
      const std::lock_guard lock(line_.mutex_);
      line_.client_.reset();
    }
    void Receive(std::string_view bytes) override { line_.receive_(bytes); }

   private:
    SocketLine& line_;
  };

  std::unique_ptr<Session> Join(std::shared_ptr<Connection> client) {
    {
      const std::lock_guard lock(mutex_);
      client_ = std::move(client);
    }
    return std::make_unique<Caller>(*this);
  }

  const std::string name_;
  const Receive receive_;
  std::mutex mutex_;
  std::shared_ptr<Connection> client_;
  SocketServer server_;  // last: its thread uses the others
};

class PtyLine final : public SerialLine {
 public:
  explicit PtyLine(Receive receive) : receive_(std::move(receive)), master_(Open()), slave_(OpenSlave()) {
    if (pipe2(stop_pipe_, O_CLOEXEC) != 0) throw UsageError("--serial pty: no pipe can be had");
    thread_ = StartQuietThread([this] { ReadLoop(); });
  }
  ~PtyLine() override {
    close(stop_pipe_[1]);
    thread_.join();
    close(stop_pipe_[0]);
    close(slave_);
    close(master_);
  }

  void Write(std::span<const uint8_t> bytes) override {
    // A full terminal that nobody reads loses what comes then.
    [[maybe_unused]] const ssize_t written = write(master_, bytes.data(), bytes.size());
  }
  std::string Name() const override { return ptsname(master_); }

 private:
  static int Open() {
    const int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || grantpt(fd) != 0 || unlockpt(fd) != 0) {
      throw UsageError(fmt::format("--serial pty: no pseudo-terminal can be had: {}", std::strerror(errno)));
    }
    return fd;
  }
  /// Held open, so that the terminal stays when a user of it goes; raw, as a line is.
  int OpenSlave() const {
    const int fd = open(ptsname(master_), O_RDWR | O_NOCTTY | O_CLOEXEC);
    termios raw;
    if (fd < 0 || tcgetattr(fd, &raw) != 0) throw UsageError("--serial pty: the pseudo-terminal cannot be opened");
    cfmakeraw(&raw);
    tcsetattr(fd, TCSANOW, &raw);
    return fd;
  }
  void ReadLoop() {
    pollfd waits[] = {{master_, POLLIN, 0}, {stop_pipe_[0], POLLIN, 0}};
    char bytes[512];
    for (;;) {
      if (poll(waits, 2, -1) < 0 && errno != EINTR) return;
      if (waits[1].revents) return;
      const ssize_t n = read(master_, bytes, sizeof bytes);
      if (n > 0) receive_({bytes, static_cast<size_t>(n)});
    }
  }

  const Receive receive_;
  const int master_, slave_;
  int stop_pipe_[2] = {-1, -1};
  std::thread thread_;
};

bool IsSocket(const std::string& place) { return place.starts_with("unix:") || place.starts_with("tcp:"); }

SocketAddress AddressOf(const std::string& place) {
  const SocketAddress address = ParseSocketAddress(place, kOption);
  if (address.wait)
    throw UsageError(fmt::format("--serial {}: ring3 does not wait for the other end (wait=off)", place));
  return address;
}

}  // namespace

bool IsSerialLine(const std::string& place) {
  if (IsSocket(place)) AddressOf(place);
  return IsSocket(place) || place == "null" || place == "pty";
}

std::unique_ptr<SerialLine> OpenSerialLine(const std::string& place, SerialLine::Receive receive) {
  if (place == "null") return std::make_unique<NullLine>();
  if (place == "pty") return std::make_unique<PtyLine>(std::move(receive));
  return std::make_unique<SocketLine>(AddressOf(place), std::move(receive));
}

}  // namespace ring3
