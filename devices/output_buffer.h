// Collects a device's output bytes so that the host sees few, large writes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>

namespace ring3 {

using ByteSink = std::function<void(std::span<const uint8_t>)>;

/// Passes bytes on when full or when flushed. An empty sink drops them.
class OutputBuffer {
 public:
  explicit OutputBuffer(ByteSink sink) : sink_(std::move(sink)) {}

  void Append(uint8_t byte) {
    bytes_[used_++] = byte;
    if (used_ == bytes_.size()) Flush();
  }
  void Flush() {
    const size_t count = std::exchange(used_, 0);
    if (count != 0 && sink_) sink_(std::span<const uint8_t>(bytes_.data(), count));
  }
  bool Empty() const { return used_ == 0; }

 private:
  ByteSink sink_;
  std::array<uint8_t, 1024> bytes_;
  size_t used_ = 0;
};

}  // namespace ring3
