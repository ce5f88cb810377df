// The terminal as the guest's serial console: raw mode that is undone on every way out, and the Ctrl-A keys.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace ring3 {

/// Puts the terminal on standard input into raw mode, if there is one, and back at destruction, at exit and when a
/// signal ends the process.
class RawTerminal {
 public:
  RawTerminal();
  ~RawTerminal();
  RawTerminal(const RawTerminal&) = delete;
  /// Safe in signal handlers.
  static void Restore();
  /// What Restore() writes to standard output besides: it undoes what a program did to the screen. Empty: nothing.
  static void RestoreWith(const std::string& text);
};

/// Reads standard input on its own thread. Ctrl-A is the escape key: x quits, b sends a break, c switches to the
/// monitor, Ctrl-A itself.
class ConsoleInput {
 public:
  struct Events {
    std::function<void()> wake;  // bytes, a break or a quit wait; called on the reader's thread
    /// Ctrl-A c switches between the guest and the monitor; this takes what is typed to the latter. Same thread.
    std::function<void(std::string_view bytes)> monitor;
  };
  struct Batch {
    std::vector<uint8_t> bytes;
    bool quit = false, send_break = false;
  };

  ConsoleInput(int fd, Events events);
  ~ConsoleInput();
  ConsoleInput(const ConsoleInput&) = delete;

  /// All that has arrived since the last call; without `bytes`, these are left for later.
  Batch Take(bool bytes);

 private:
  void ReadLoop();
  void Interpret(std::span<const uint8_t> bytes);
  void Escaped(uint8_t byte);
  void Take(uint8_t byte);

  int fd_;
  Events events_;
  int stop_pipe_[2];
  std::mutex mutex_;
  Batch waiting_;
  bool escape_ = false, to_monitor_ = false;
  std::string for_monitor_;
  std::thread thread_;
};

/// Writes all of it, waiting where the descriptor is not ready. False when nobody reads any more.
bool WriteFully(int fd, std::span<const uint8_t> bytes);

}  // namespace ring3
