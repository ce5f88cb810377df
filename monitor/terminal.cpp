#include "monitor/terminal.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <system_error>
#include <utility>

namespace ring3 {
namespace {

constexpr uint8_t kEscape = 1;  // Ctrl-A
constexpr size_t kMostWaiting = 64 * 1024;
constexpr int kEndingSignals[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT};
constexpr std::string_view kHelp =
    "\r\nCtrl-A x  quit ring3\r\nCtrl-A b  send a break\r\nCtrl-A c  switch between guest and monitor\r\nCtrl-A Ctrl-A "
    " send Ctrl-A\r\nCtrl-A h  this help\r\n";

termios g_saved;
volatile sig_atomic_t g_raw = 0;
// Fixed places, because a signal handler reads them.
char g_restore_text[128];
volatile sig_atomic_t g_restore_bytes = 0;

void OnEndingSignal(int signal) {
  RawTerminal::Restore();
  ::signal(signal, SIG_DFL);
  ::raise(signal);
}

}  // namespace

RawTerminal::RawTerminal() {
  if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &g_saved) != 0) return;
  termios raw = g_saved;
  cfmakeraw(&raw);
  raw.c_oflag |= OPOST;  // the host's own messages keep their line ends
  raw.c_cc[VMIN] = 1;
  raw.c_cc[VTIME] = 0;
  // A signal may come at any time: whatever undoes it is there before the terminal becomes raw.
  g_raw = 1;
  std::atexit(Restore);
  for (int ending : kEndingSignals) ::signal(ending, OnEndingSignal);
  if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) != 0) g_raw = 0;
}

RawTerminal::~RawTerminal() { Restore(); }

void RawTerminal::Restore() {
  if (!g_raw) return;
  g_raw = 0;
  if (g_restore_bytes > 0 && write(STDOUT_FILENO, g_restore_text, static_cast<size_t>(g_restore_bytes)) < 0) {
    // Nobody is there to see it.
  }
  tcsetattr(STDIN_FILENO, TCSANOW, &g_saved);
}

void RawTerminal::RestoreWith(const std::string& text) {
  g_restore_bytes = 0;
  if (text.size() > sizeof g_restore_text) return;
  std::memcpy(g_restore_text, text.data(), text.size());
  g_restore_bytes = static_cast<sig_atomic_t>(text.size());
}

ConsoleInput::ConsoleInput(int fd, Events events) : fd_(fd), events_(std::move(events)) {
  if (pipe2(stop_pipe_, O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
  // Signals are the vCPU thread's business.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { ReadLoop(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

ConsoleInput::~ConsoleInput() {
  close(stop_pipe_[1]);
  thread_.join();
  close(stop_pipe_[0]);
}

void ConsoleInput::ReadLoop() {
  pollfd waits[] = {{fd_, POLLIN, 0}, {stop_pipe_[0], POLLIN, 0}};
  uint8_t bytes[512];
  for (;;) {
    if (poll(waits, 2, -1) < 0) {
      if (errno == EINTR) continue;
      return;
    }
    if (waits[1].revents) return;
    {
      // A guest that doesn't read its serial port must not make the queue grow without end.
      std::unique_lock lock(mutex_);
      if (waiting_.bytes.size() > kMostWaiting) {
        lock.unlock();
        usleep(1000);
        continue;
      }
    }
    ssize_t n = read(fd_, bytes, sizeof bytes);
    if (n <= 0) return;  // end of input: the guest just gets no more
    Interpret({bytes, static_cast<size_t>(n)});
    events_.wake();
  }
}

void ConsoleInput::Interpret(std::span<const uint8_t> bytes) {
  {
    const std::lock_guard lock(mutex_);
    const bool keys = isatty(fd_);
    for (uint8_t byte : bytes) {
      if (!keys) {
        waiting_.bytes.push_back(byte);
      } else if (escape_) {
        escape_ = false;
        Escaped(byte);
      } else if (byte == kEscape) {
        escape_ = true;
      } else {
        Take(byte);
      }
    }
  }
  // The monitor waits for the vCPU thread, which may wait for the lock.
  if (!for_monitor_.empty()) events_.monitor(std::exchange(for_monitor_, {}));
}

void ConsoleInput::Take(uint8_t byte) {
  if (to_monitor_) {
    for_monitor_.push_back(static_cast<char>(byte));
  } else {
    waiting_.bytes.push_back(byte);
  }
}

/// The key behind Ctrl-A.
void ConsoleInput::Escaped(uint8_t byte) {
  switch (byte) {
    case 'x':
      waiting_.quit = true;
      break;
    case 'b':
      waiting_.send_break = true;
      break;
    case 'c':
      if (!events_.monitor) break;
      to_monitor_ = !to_monitor_;
      if (to_monitor_) for_monitor_.push_back('\n');  // for a prompt
      break;
    case 'h':
    case '?':
      WriteFully(STDERR_FILENO, {reinterpret_cast<const uint8_t*>(kHelp.data()), kHelp.size()});
      break;
    case 'a':
    case kEscape:
      Take(kEscape);
      break;
    default:
      Take(byte);
      break;
  }
}

ConsoleInput::Batch ConsoleInput::Take(bool bytes) {
  std::lock_guard lock(mutex_);
  Batch taken = std::exchange(waiting_, {});
  if (!bytes) waiting_.bytes = std::exchange(taken.bytes, {});
  return taken;
}

bool WriteFully(int fd, std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) {
      pollfd wait = {fd, POLLOUT, 0};
      poll(&wait, 1, -1);
      continue;
    }
    if (n < 0) return false;
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
  return true;
}

}  // namespace ring3
