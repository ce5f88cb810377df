// Numbers as the command line and the monitors have them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ring3 {

/// All of `text` as digits, without sign or space; nothing for other text and for more than 64 bits.
std::optional<uint64_t> ParseDigits(std::string_view text, int base = 10);
/// The same, where 0x stands before hexadecimal digits.
std::optional<uint64_t> ParseNumber(std::string_view text);
/// What ParseNumber() knows, as an option. Throws UsageError, as "--boot splash-time=soon: say a number from 0 to
/// 65535", for other text and for numbers below `least` or above `most`. `option` ends before the "=".
uint64_t ParseNumberOption(std::string_view option, std::string_view text, uint64_t least, uint64_t most);

}  // namespace ring3
