// Ports for the people who debug guests: the E9h console, the exit device, and the POST code port.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>

#include "devices/byte_port_device.h"
#include "devices/output_buffer.h"

namespace ring3 {

/// Bytes written are text for the host. Reads as E9h wherever it sits, by which guests detect it.
class DebugConsole final : public BytePortDevice {
 public:
  explicit DebugConsole(ByteSink sink) : output_(std::move(sink)) {}
  void FlushOutput() { output_.Flush(); }

 protected:
  static constexpr uint8_t kPresent = 0xE9;
  uint8_t ReadByte(uint16_t) override { return kPresent; }
  void WriteByte(uint16_t, uint8_t value) override {
    output_.Append(value);
    if (value == '\n') output_.Flush();
  }

 private:
  OutputBuffer output_;
};

/// A write of v ends the machine with exit status (v << 1) | 1: always odd, so never mistaken for success.
class DebugExit final : public PortDevice {
 public:
  explicit DebugExit(std::function<void(int)> exit) : exit_(std::move(exit)) {}
  uint32_t ReadPort(uint16_t, unsigned) override { return 0; }
  void WritePort(uint16_t, unsigned, uint32_t value) override { exit_(static_cast<int>(value << 1 | 1)); }

 private:
  std::function<void(int)> exit_;
};

/// Latches the last power-on self test code. Many guests write here only for the delay.
class PostPort final : public BytePortDevice {
 public:
  uint8_t LastCode() const { return code_; }
  void Reset() { code_ = 0; }

 protected:
  uint8_t ReadByte(uint16_t) override { return code_; }
  void WriteByte(uint16_t, uint8_t value) override { code_ = value; }

 private:
  uint8_t code_ = 0;
};

}  // namespace ring3
