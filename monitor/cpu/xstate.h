// The XSAVE-managed state components that exist here: XCR0 bits, and where a component lies in an XSAVE area (SDM 1,
// chapter 13).
#pragma once

#include <cstdint>

namespace ring3::xstate {

inline constexpr uint32_t kX87 = 1u << 0, kSse = 1u << 1, kAvx = 1u << 2;
/// AVX instructions need both.
inline constexpr uint32_t kAvxNeeds = kSse | kAvx;

inline constexpr uint32_t kLegacyBytes = 512, kHeaderBytes = 64;
inline constexpr uint32_t kAvxOffset = kLegacyBytes + kHeaderBytes, kAvxBytes = 256;  // YMM_Hi128, sixteen registers
inline constexpr uint32_t kAlignment = 64;

/// Size of an area with these components, in standard and in compacted format alike.
constexpr uint32_t AreaBytes(uint32_t components) { return kAvxOffset + (components & kAvx ? kAvxBytes : 0); }

}  // namespace ring3::xstate
