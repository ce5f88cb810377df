#include "monitor/gdb/packets.h"

#include <fmt/core.h>

namespace ring3::gdb {
namespace {

constexpr char kEscape = '}', kInterrupt = 3;
constexpr uint8_t kEscapeFlip = 0x20;
constexpr std::string_view kSpecial = "$#}*";

int DigitOf(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string Unescape(std::string_view raw) {
  std::string plain;
  plain.reserve(raw.size());
  for (size_t i = 0; i < raw.size(); ++i) {
    const bool escaped = raw[i] == kEscape && i + 1 < raw.size();
    plain.push_back(escaped ? static_cast<char>(raw[++i] ^ kEscapeFlip) : raw[i]);
  }
  return plain;
}

}  // namespace

void PacketReader::Feed(std::string_view bytes) {
  for (char byte : bytes) {
    switch (state_) {
      case State::kBetween:
        Between(byte);
        break;
      case State::kPayload:
        Payload(byte);
        break;
      case State::kFirstDigit:
        first_digit_ = byte;
        state_ = State::kSecondDigit;
        break;
      case State::kSecondDigit:
        Finish(byte);
        break;
    }
  }
}

void PacketReader::Between(char byte) {
  if (byte == kInterrupt) return events_.interrupt();
  if (byte == '-') return events_.refused();
  if (byte != '$') return;
  payload_.clear();
  sum_ = 0;
  too_long_ = false;
  state_ = State::kPayload;
}

void PacketReader::Payload(char byte) {
  if (byte == '#') {
    state_ = State::kFirstDigit;
    return;
  }
  sum_ = static_cast<uint8_t>(sum_ + static_cast<uint8_t>(byte));
  if (payload_.size() < kMostPayload) {
    payload_.push_back(byte);
  } else {
    too_long_ = true;
  }
}

void PacketReader::Finish(char byte) {
  state_ = State::kBetween;
  const int high = DigitOf(first_digit_), low = DigitOf(byte);
  if (too_long_ || high < 0 || low < 0 || (high << 4 | low) != sum_) return events_.damaged();
  events_.packet(Unescape(payload_));
}

std::string Frame(std::string_view payload) {
  std::string frame = "$";
  for (char c : payload) {
    if (kSpecial.find(c) != std::string_view::npos) {
      frame.push_back(kEscape);
      c = static_cast<char>(c ^ kEscapeFlip);
    }
    frame.push_back(c);
  }
  uint8_t sum = 0;
  for (size_t i = 1; i < frame.size(); ++i) sum = static_cast<uint8_t>(sum + static_cast<uint8_t>(frame[i]));
  return frame + fmt::format("#{:02x}", sum);
}

std::string ToHex(std::span<const uint8_t> bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (uint8_t byte : bytes) {
    text.push_back(kDigits[byte >> 4]);
    text.push_back(kDigits[byte & 0xF]);
  }
  return text;
}

std::optional<std::vector<uint8_t>> FromHex(std::string_view text) {
  if (text.size() % 2 != 0) return std::nullopt;
  std::vector<uint8_t> bytes;
  bytes.reserve(text.size() / 2);
  for (size_t i = 0; i < text.size(); i += 2) {
    const int high = DigitOf(text[i]), low = DigitOf(text[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    bytes.push_back(static_cast<uint8_t>(high << 4 | low));
  }
  return bytes;
}

std::optional<uint64_t> TakeHex(std::string_view& text) {
  constexpr size_t kMostDigits = 16;
  uint64_t value = 0;
  size_t digits = 0;
  while (digits < text.size() && digits < kMostDigits && DigitOf(text[digits]) >= 0) {
    value = value << 4 | static_cast<uint64_t>(DigitOf(text[digits++]));
  }
  if (digits == 0) return std::nullopt;
  text.remove_prefix(digits);
  return value;
}

bool TakeText(std::string_view& text, std::string_view wanted) {
  if (!text.starts_with(wanted)) return false;
  text.remove_prefix(wanted.size());
  return true;
}

}  // namespace ring3::gdb
