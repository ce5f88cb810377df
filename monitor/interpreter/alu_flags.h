// Arithmetic flags computed in C++, where the host's ALU isn't asked.
#pragma once

#include <bit>
#include <cstdint>

#include "monitor/cpu/cpu_state.h"

namespace ring3 {

inline constexpr uint32_t kArithmeticFlags =
    eflags::kCf | eflags::kPf | eflags::kAf | eflags::kZf | eflags::kSf | eflags::kOf;

/// SF, ZF and PF of an 8, 16 or 32-bit result.
inline uint32_t ResultFlags(uint32_t value, unsigned bytes) {
  const unsigned bits = 8 * bytes;
  if (bits < 32) value &= (1u << bits) - 1;
  uint32_t flags = std::popcount(value & 0xFF) % 2 == 0 ? eflags::kPf : 0;
  if (value == 0) flags |= eflags::kZf;
  if ((value >> (bits - 1)) & 1) flags |= eflags::kSf;
  return flags;
}

/// All six flags of a - b, as CMP sets them. Operands are zero-extended.
inline uint32_t CompareFlags(uint32_t a, uint32_t b, unsigned bytes) {
  const uint32_t difference = a - b;
  uint32_t flags = ResultFlags(difference, bytes);
  if (a < b) flags |= eflags::kCf;
  if ((a ^ b ^ difference) & 0x10) flags |= eflags::kAf;
  if ((((a ^ b) & (a ^ difference)) >> (8 * bytes - 1)) & 1) flags |= eflags::kOf;
  return flags;
}

}  // namespace ring3
