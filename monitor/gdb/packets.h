// Frames of gdb's remote serial protocol: $payload#checksum, acknowledgements, and the interrupt byte. Source: "The GDB
// Remote Serial Protocol", in the manual of GDB.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ring3::gdb {

/// Payloads that we take, in bytes.
inline constexpr size_t kMostPayload = 64 * 1024;

/// Takes a stream of bytes apart. Whatever is no frame is skipped.
class PacketReader {
 public:
  struct Events {
    std::function<void(std::string_view payload)> packet;  // checksum right, escapes undone
    std::function<void()> damaged;                         // checksum wrong, or too long
    std::function<void()> interrupt;                       // 03h between packets
    std::function<void()> refused;                         // '-': our last packet came damaged
  };

  explicit PacketReader(Events events) : events_(std::move(events)) {}
  void Feed(std::string_view bytes);

 private:
  enum class State : uint8_t { kBetween, kPayload, kFirstDigit, kSecondDigit };

  void Between(char byte);
  void Payload(char byte);
  void Finish(char byte);

  Events events_;
  State state_ = State::kBetween;
  std::string payload_;  // escapes still in it
  uint8_t sum_ = 0;
  char first_digit_ = 0;
  bool too_long_ = false;
};

/// The frame around a payload, special characters escaped.
std::string Frame(std::string_view payload);

std::string ToHex(std::span<const uint8_t> bytes);
/// The whole of `text`, an even number of digits, or nothing.
std::optional<std::vector<uint8_t>> FromHex(std::string_view text);
/// Takes a number in hexadecimal, of at most 64 bits, from the front of `text`.
std::optional<uint64_t> TakeHex(std::string_view& text);
/// Takes `wanted` from the front of `text`, if it is there.
bool TakeText(std::string_view& text, std::string_view wanted);

}  // namespace ring3::gdb
