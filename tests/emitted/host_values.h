// What a host register is known to hold while a block is verified: a small lattice, joined where paths meet.
#pragma once

#include <array>
#include <cstdint>
#include <map>

namespace ring3 {

enum class Holds : uint8_t {
  kAnything,
  kGuest,      // 32 bits, zero-extended
  kFlagImage,  // the same, and a value that POPFQ may load: nothing but flags that the host holds for the guest
  kConstant,   // a known number
  kBiased,     // window + 32 bits, perhaps a few bytes more or less
  kLowHalf,    // one of the two: only the low half is known to be the guest's
  kWindow,
  kBranchTable,
  kCacheBase,
  kVcpu,
  kHostStack,
  kSlot,  // what a branch-table slot holds
  kCode,  // a host address that may be jumped to
  // On the way from an offset to the segment it was checked against (SegmentAccess in translator/vcpu.h).
  kNegatedSize,
  kMargin,          // offset + bytes + negated size: the high half says on which side of the limit
  kMarginHigh,      // that half in the low one
  kSide,            // -1, 0 or 1
  kSegment,         // where offsets of 32 bits may be added: they end up in the window or its guard
  kSegmentAddress,  // the two added
  kReadable,        // readable, or in the guard
  kBit,             // 0 or 1
  // On the way from a guest-linear address to the flat view (SoftTlb in shadowmmu/soft_tlb.h). The constant says what
  // was looked up: see SoftAccess.
  kByte,         // 0 to 255
  kSoftBudgets,  // the address of the budgets
  kNegatedPage,  // of the entry for the byte
  kSoftMargin,   // where in the page the access ends
  kSoftCheck,    // its low half is 0 where the access lies in the page
  kSoftLinear,   // a guest-linear address that has passed
  kToHost,       // what to add to it
  kSoftAddress,  // the two added
};

/// What a soft access was looked up for.
struct SoftAccess {
  bool user = false, write = false;
  unsigned bytes = 0;
  constexpr uint64_t Pack() const { return uint64_t{user} << 17 | uint64_t{write} << 16 | bytes; }
  static constexpr SoftAccess Unpack(uint64_t packed) {
    return {(packed >> 17 & 1) != 0, (packed >> 16 & 1) != 0, static_cast<unsigned>(packed & 0xFFFF)};
  }
};

struct HostValue {
  Holds holds = Holds::kAnything;
  uint64_t constant = 0;  // kConstant

  bool operator==(const HostValue&) const = default;
  bool Is32Bits() const {
    return holds == Holds::kGuest || holds == Holds::kFlagImage || holds == Holds::kByte ||
           holds == Holds::kSoftLinear || (holds == Holds::kConstant && constant <= UINT32_MAX);
  }
  bool LowHalfIsGuest() const { return Is32Bits() || holds == Holds::kBiased || holds == Holds::kLowHalf; }
  HostValue Join(const HostValue& other) const {
    if (*this == other) return *this;
    if (Is32Bits() && other.Is32Bits()) return {Holds::kGuest};
    return LowHalfIsGuest() && other.LowHalfIsGuest() ? HostValue{Holds::kLowHalf} : HostValue{};
  }
};

/// Host registers by number, and the one word that a block may keep on the host's stack.
struct HostState {
  std::array<HostValue, 16> registers{};
  bool pushed = false;
  HostValue word{};

  bool operator==(const HostState&) const = default;

  /// What the contract promises at a block's start, and what each way out must leave behind.
  static HostState Contract() {
    HostState s;
    for (const unsigned gpr : {0, 1, 2, 3, 6, 7}) s.registers[gpr] = {Holds::kGuest};
    s.registers[4] = {Holds::kHostStack};
    s.registers[5] = s.registers[15] = {Holds::kBiased};
    s.registers[11] = {Holds::kCacheBase};
    s.registers[12] = {Holds::kVcpu};
    s.registers[13] = {Holds::kBranchTable};
    s.registers[14] = {Holds::kWindow};
    return s;
  }
};

}  // namespace ring3
