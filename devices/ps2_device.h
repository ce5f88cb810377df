// The device end of a PS/2 port: takes bytes from the host, queues bytes for it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <initializer_list>
#include <utility>

namespace ring3 {

class Ps2Device {
 public:
  static constexpr uint8_t kAcknowledge = 0xFA;
  static constexpr uint8_t kResend = 0xFE;
  static constexpr uint8_t kSelfTestPassed = 0xAA;

  virtual ~Ps2Device() = default;
  /// A byte from the host.
  virtual void Receive(uint8_t byte) = 0;
  /// Power-on state, nothing queued.
  virtual void Reset() = 0;

  bool HasOutput() const { return !output_.empty(); }
  uint8_t TakeOutput() {
    last_sent_ = output_.front();
    output_.pop_front();
    return last_sent_;
  }
  /// Called when output was queued.
  void OnOutput(std::function<void()> callback) { on_output_ = std::move(callback); }

 protected:
  void Send(std::initializer_list<uint8_t> bytes) {
    output_.insert(output_.end(), bytes);
    if (on_output_) on_output_();
  }
  void ResendLast() { Send({last_sent_}); }
  void DropOutput() { output_.clear(); }
  size_t Queued() const { return output_.size(); }

 private:
  std::deque<uint8_t> output_;
  std::function<void()> on_output_;
  uint8_t last_sent_ = 0;
};

}  // namespace ring3
