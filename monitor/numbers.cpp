#include "monitor/numbers.h"

#include <fmt/core.h>

#include <charconv>

#include "monitor/cpu/fault.h"

namespace ring3 {

std::optional<uint64_t> ParseDigits(std::string_view text, int base) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<uint64_t> ParseNumber(std::string_view text) {
  if (text.starts_with("0x") || text.starts_with("0X")) return ParseDigits(text.substr(2), 16);
  return ParseDigits(text);
}

uint64_t ParseNumberOption(std::string_view option, std::string_view text, uint64_t least, uint64_t most) {
  const auto value = ParseNumber(text);
  if (value && *value >= least && *value <= most) return *value;
  throw UsageError(fmt::format("{}={}: say a number from {} to {}", option, text, least, most));
}

}  // namespace ring3
