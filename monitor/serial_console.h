// The other end of a serial port: the terminal, a file, a socket, a pseudo-terminal, nothing.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "devices/uart16550.h"
#include "monitor/control/front_ends.h"
#include "monitor/control/vcpu_calls.h"
#include "monitor/serial_line.h"

namespace ring3 {

/// vCPU thread. What comes from the other end waits until the guest takes it.
class SerialConsole {
 public:
  /// Whether `place` is one that --serial knows. Throws UsageError for what only looks like one.
  static bool IsPlace(const std::string& place);
  static constexpr const char* kPlaces = "stdio, file:F, null, pty, unix:PATH, tcp:HOST:PORT or none";
  static bool IsTerminal(const std::string& place) { return place == "stdio" || place == "mon:stdio"; }

  /// `place` is not "none"; `port` counts from 0. Opens the file, if it is one. Throws UsageError.
  SerialConsole(const std::string& place, unsigned port);
  ~SerialConsole();
  SerialConsole(const SerialConsole&) = delete;

  /// The machine is about to run: opens sockets. All outlive Disconnect(). Throws UsageError.
  void Connect(Uart16550& uart, VcpuCalls& calls);
  void Disconnect() { line_.reset(); }
  CharacterDevice Describe() const;

  /// What the guest sends. False when it cannot be written (errno says why), once.
  bool Write(std::span<const uint8_t> bytes);

  /// Of the terminal's: whether there is room for what is typed; the bytes; who to wake when there is room again.
  bool HasRoom() const { return waiting_.size() < kMostWaiting; }
  void Take(std::span<const uint8_t> bytes);
  void OnRoom(std::function<void()> room) { room_ = std::move(room); }

 private:
  static constexpr size_t kMostWaiting = 4096;

  void Feed();

  const std::string place_;
  const unsigned port_;
  int fd_ = -1;
  bool failed_ = false;
  std::unique_ptr<SerialLine> line_;
  Uart16550* uart_ = nullptr;
  std::deque<uint8_t> waiting_;
  std::function<void()> room_;
};

}  // namespace ring3
