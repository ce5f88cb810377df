// What a fuzz target reads its input with, and how it reports.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>

namespace ring3::fuzz {

/// Takes numbers from the front of the input; behind its end everything is zero.
class Input {
 public:
  explicit Input(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  bool Empty() const { return bytes_.empty(); }
  size_t Size() const { return bytes_.size(); }
  template <class T>
  T Take() {
    T value{};
    const std::span<const uint8_t> taken = TakeBytes(sizeof value);
    if (!taken.empty()) std::memcpy(&value, taken.data(), taken.size());
    return value;
  }
  uint8_t Byte() { return Take<uint8_t>(); }
  bool Bit() { return Byte() & 1; }
  uint32_t Below(uint32_t bound) { return (bound <= 256 ? Byte() : Take<uint32_t>()) % bound; }
  /// At most `count` bytes.
  std::span<const uint8_t> TakeBytes(size_t count) {
    const std::span<const uint8_t> taken = bytes_.first(count < bytes_.size() ? count : bytes_.size());
    bytes_ = bytes_.subspan(taken.size());
    return taken;
  }
  std::span<const uint8_t> Rest() { return TakeBytes(bytes_.size()); }

 private:
  std::span<const uint8_t> bytes_;
};

/// Ends the process so that the input is kept as a finding. Call with what is wrong.
[[noreturn]] void Fail(const std::string& message);
inline void Require(bool holds, const char* message) {
  if (!holds) Fail(message);
}

/// The target: one file for each defines it. Throwing fails, too.
void Run(Input input);

/// A CrashHandler for HostSignals: hands the signal to whoever handled it before the target ran.
void GiveBackSignal(int signal, void* info, void* context);

}  // namespace ring3::fuzz
