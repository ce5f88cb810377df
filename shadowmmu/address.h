// Address types that do not mix: an address is only ever compared with, or offset into, its own kind.
#pragma once

#include <compare>
#include <cstdint>

namespace ring3 {

inline constexpr uint32_t kPageSize = 4096;
inline constexpr uint32_t kPageShift = 12;
inline constexpr uint32_t kPageMask = kPageSize - 1;

template <class Tag, class Rep>
struct Address {
  Rep value = 0;

  constexpr Address() = default;
  constexpr explicit Address(Rep v) : value(v) {}

  constexpr Address Page() const { return Address(value & ~static_cast<Rep>(kPageMask)); }
  constexpr uint32_t PageOffset() const { return static_cast<uint32_t>(value & kPageMask); }
  constexpr Rep PageNumber() const { return value >> kPageShift; }

  /// Wraps at the width of the representation, as the CPU's adders do.
  constexpr Address operator+(Rep offset) const { return Address(static_cast<Rep>(value + offset)); }
  constexpr Address operator-(Rep offset) const { return Address(static_cast<Rep>(value - offset)); }
  constexpr Rep operator-(Address other) const { return static_cast<Rep>(value - other.value); }
  constexpr auto operator<=>(const Address&) const = default;
};

/// An offset in a segment: what the SDM calls an effective (near) address.
using GuestVirtual = Address<struct GuestVirtualTag, uint32_t>;
/// Segment base + offset: what paging translates (SDM 3A, 3.1).
using GuestLinear = Address<struct GuestLinearTag, uint32_t>;
/// What paging yields; wider than 32 bits because PAE entries are.
using GuestPhysical = Address<struct GuestPhysicalTag, uint64_t>;
/// An address of this process.
using HostAddress = Address<struct HostAddressTag, uint64_t>;

}  // namespace ring3
