// Guests of a few bytes, written as machine code where a test needs one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ring3::test {

/// Where the code of such a guest begins; EIP enters there in flat 32-bit mode with paging and interrupts off.
inline constexpr uint32_t kGuestCode = 0x100020;

/// Writes a Multiboot kernel made of `code` to `path`.
void WriteGuest(const std::string& path, const std::vector<uint8_t>& code);

}  // namespace ring3::test
