// Where a serial port's other end is when it is neither the terminal nor a file: a socket, a pseudo-terminal, nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace ring3 {

class SerialLine {
 public:
  /// Takes what comes from the other end, on a thread of the line's own.
  using Receive = std::function<void(std::string_view bytes)>;

  virtual ~SerialLine() = default;
  /// What nobody is there to read is lost. vCPU thread.
  virtual void Write(std::span<const uint8_t> bytes) = 0;
  /// For the user: a socket's address, a pseudo-terminal's name.
  virtual std::string Name() const = 0;
};

/// Whether `place` is one of null, pty, unix:PATH, tcp:HOST:PORT, rightly spelt. Throws UsageError for what only looks
/// like one.
bool IsSerialLine(const std::string& place);
/// Throws UsageError.
std::unique_ptr<SerialLine> OpenSerialLine(const std::string& place, SerialLine::Receive receive);

}  // namespace ring3
