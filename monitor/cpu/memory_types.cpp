#include "monitor/cpu/memory_types.h"

#include <algorithm>
#include <array>

#include "monitor/cpu/cpu_model.h"
#include "monitor/cpu/raise.h"

namespace ring3 {
namespace {

constexpr uint32_t kCapability = 0xFE, kFirstVariable = 0x200, kDefaultType = 0x2FF;
constexpr std::array<uint32_t, 11> kFixed{0x250, 0x258, 0x259, 0x268, 0x269, 0x26A, 0x26B, 0x26C, 0x26D, 0x26E, 0x26F};
constexpr uint32_t kVariableCount = std::tuple_size_v<decltype(MemoryTypeRanges::variable)>;
/// Eight variable ranges, fixed ranges, write combining.
constexpr uint64_t kCapabilities = kVariableCount / 2 | 1u << 8 | 1u << 10;
constexpr uint64_t kBeyondAddress = ~((uint64_t{1} << kPhysicalAddressBits) - 1);
constexpr uint64_t kDefaultReserved = ~uint64_t{0xCFF}, kBaseReserved = kBeyondAddress | 0xF00,
                   kMaskReserved = kBeyondAddress | 0x7FF;
// Memory types as sets of their numbers: UC, WC, WT, WP, WB; PAT has UC- as well.
constexpr unsigned kRangeTypes = 0x73, kPatTypes = 0xF3;

void Require(bool condition) {
  if (!condition) ThrowFault(Vector::kGeneralProtection, 0);
}

bool IsType(uint64_t byte, unsigned types) { return byte < 8 && (types >> byte & 1); }

bool AllTypes(uint64_t value, unsigned types) {
  for (unsigned shift = 0; shift < 64; shift += 8) {
    if (!IsType(value >> shift & 0xFF, types)) return false;
  }
  return true;
}

/// The register's storage; none for IA32_MTRRCAP.
template <class Ranges>
auto Find(Ranges& mtrr, uint32_t msr) -> decltype(&mtrr.default_type) {
  if (msr == kDefaultType) return &mtrr.default_type;
  if (msr - kFirstVariable < kVariableCount) return &mtrr.variable[msr - kFirstVariable];
  const auto fixed = std::find(kFixed.begin(), kFixed.end(), msr);
  return fixed == kFixed.end() ? nullptr : &mtrr.fixed[static_cast<size_t>(fixed - kFixed.begin())];
}

bool Valid(uint32_t msr, uint64_t value) {
  if (msr == kDefaultType) return !(value & kDefaultReserved) && IsType(value & 0xFF, kRangeTypes);
  if (msr - kFirstVariable >= kVariableCount) return AllTypes(value, kRangeTypes);
  const bool is_base = msr % 2 == 0;
  return is_base ? !(value & kBaseReserved) && IsType(value & 0xFF, kRangeTypes) : !(value & kMaskReserved);
}

}  // namespace

bool IsMtrr(uint32_t msr) {
  constexpr MemoryTypeRanges kAny;
  return msr == kCapability || Find(kAny, msr) != nullptr;
}

uint64_t ReadMtrr(const CpuState& state, uint32_t msr) {
  const uint64_t* storage = Find(state.mtrr, msr);
  return storage ? *storage : kCapabilities;
}

void WriteMtrr(CpuState& state, uint32_t msr, uint64_t value) {
  uint64_t* storage = Find(state.mtrr, msr);
  Require(storage && Valid(msr, value));
  *storage = value;
}

void CheckPat(uint64_t value) { Require(AllTypes(value, kPatTypes)); }

}  // namespace ring3
