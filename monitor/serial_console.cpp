#include "monitor/serial_console.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "monitor/cpu/fault.h"
#include "monitor/terminal.h"

namespace ring3 {
namespace {

constexpr char kFile[] = "file:";

/// -1 for places that are no descriptor.
int OpenPlace(const std::string& place) {
  if (SerialConsole::IsTerminal(place)) return STDOUT_FILENO;
  if (!place.starts_with(kFile)) return -1;
  const std::string path = place.substr(std::strlen(kFile));
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) throw UsageError(fmt::format("cannot write serial output to {}: {}", path, std::strerror(errno)));
  return fd;
}

}  // namespace

bool SerialConsole::IsPlace(const std::string& place) {
  const bool file = place.starts_with(kFile) && place.size() > std::strlen(kFile);
  return place == "none" || IsTerminal(place) || file || IsSerialLine(place);
}

SerialConsole::SerialConsole(const std::string& place, unsigned port)
    : place_(place), port_(port), fd_(OpenPlace(place)) {}

SerialConsole::~SerialConsole() {
  if (fd_ > STDERR_FILENO) close(fd_);
}

void SerialConsole::Connect(Uart16550& uart, VcpuCalls& calls) {
  uart_ = &uart;
  uart.OnReceiveReady([this] {
    Feed();
    if (waiting_.empty() && room_) room_();
  });
  if (!IsSerialLine(place_)) return;
  line_ = OpenSerialLine(place_, [this, &calls](std::string_view bytes) {
    calls.Post([this, text = std::string(bytes)] {
      if (waiting_.size() >= kMostWaiting * 16) return;  // nobody reads it
      Take({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
    });
  });
  if (place_ == "pty") fmt::print(stderr, "char device redirected to {} (label serial{})\n", line_->Name(), port_);
}

CharacterDevice SerialConsole::Describe() const {
  return {fmt::format("serial{}", port_), line_ ? line_->Name() : place_};
}

bool SerialConsole::Write(std::span<const uint8_t> bytes) {
  if (line_) {
    line_->Write(bytes);
    return true;
  }
  if (fd_ < 0 || failed_ || WriteFully(fd_, bytes)) return true;
  failed_ = true;
  return false;
}

void SerialConsole::Take(std::span<const uint8_t> bytes) {
  waiting_.insert(waiting_.end(), bytes.begin(), bytes.end());
  Feed();
}

void SerialConsole::Feed() {
  while (!waiting_.empty() && uart_->CanReceive()) {
    uart_->Receive(waiting_.front());
    waiting_.pop_front();
  }
}

}  // namespace ring3
