// Segment and gate descriptors as they lie in memory (SDM 3A 3.4.5, 3.5, 5.8.3, 6.11).
#pragma once

#include <cstdint>
#include <optional>

#include "monitor/cpu/cpu.h"
#include "monitor/cpu/raise.h"

namespace ring3 {

/// Types of system descriptors, SDM 3A table 3-2.
namespace systype {
inline constexpr unsigned kTss16 = 1, kLdt = 2, kTss16Busy = 3, kCallGate16 = 4, kTaskGate = 5, kInterruptGate16 = 6,
                          kTrapGate16 = 7, kTss32 = 9, kTss32Busy = 11, kCallGate32 = 12, kInterruptGate32 = 14,
                          kTrapGate32 = 15;
inline constexpr unsigned kBusy = 2, k32Bit = 8;
}  // namespace systype

constexpr unsigned Rpl(uint16_t selector) { return selector & 3; }
constexpr bool IsNull(uint16_t selector) { return (selector & 0xFFFC) == 0; }
constexpr bool InLdt(uint16_t selector) { return selector & 4; }

struct Descriptor {
  uint64_t raw = 0;

  uint32_t High() const { return static_cast<uint32_t>(raw >> 32); }
  uint16_t Attributes() const { return (raw >> 40) & 0xF0FF; }
  uint32_t Base() const { return static_cast<uint32_t>(((raw >> 16) & 0xFF'FFFF) | ((raw >> 32) & 0xFF00'0000)); }
  uint32_t Limit() const {
    const uint32_t limit = static_cast<uint32_t>((raw & 0xFFFF) | ((raw >> 32) & 0xF'0000));
    return Attributes() & segattr::kG ? (limit << 12) | 0xFFF : limit;
  }
  unsigned Type() const { return (raw >> 40) & segattr::kTypeMask; }
  unsigned Dpl() const { return (raw >> 45) & 3; }
  bool Present() const { return Attributes() & segattr::kPresent; }
  bool IsSystem() const { return !(Attributes() & segattr::kS); }
  bool IsCode() const { return !IsSystem() && (Type() & segattr::kCode); }
  bool IsConforming() const { return IsCode() && (Type() & segattr::kConforming); }
  bool IsReadable() const { return !IsSystem() && (!(Type() & segattr::kCode) || (Type() & segattr::kReadable)); }
  bool IsWritable() const { return !IsSystem() && !(Type() & segattr::kCode) && (Type() & segattr::kWritable); }
  bool IsTss() const { return IsSystem() && (Type() & 5) == 1; }

  // Gates.
  bool Is32Bit() const { return Type() & systype::k32Bit; }
  uint16_t GateSelector() const { return static_cast<uint16_t>(raw >> 16); }
  uint32_t GateOffset() const { return static_cast<uint32_t>(raw & 0xFFFF) | (Is32Bit() ? High() & 0xFFFF'0000 : 0); }
  unsigned GateParameters() const { return High() & 0x1F; }

  /// The register that loading this descriptor through `selector` gives; accessed, as a load leaves it.
  SegmentRegister Load(uint16_t selector) const {
    const uint16_t accessed = IsSystem() ? 0 : segattr::kAccessed;
    return {selector, static_cast<uint16_t>(Attributes() | accessed), Base(), Limit()};
  }
};

/// Implicit accesses to descriptor tables and the TSS are supervisor accesses at any CPL (SDM 3A 4.6).
inline constexpr Access kImplicitRead{AccessType::kRead, false}, kImplicitWrite{AccessType::kWrite, false};

/// Protected mode with selectors that name descriptors, as opposed to real and V86 mode.
inline bool UsesDescriptors(const CpuState& state) { return state.ProtectedMode() && !state.V86(); }

GuestLinear DescriptorAddress(const CpuState& state, uint16_t selector);
/// Nothing when the selector lies outside its table. The null selector is the caller's business.
std::optional<Descriptor> FindDescriptor(const Cpu& cpu, uint16_t selector);
/// Throws `vector` with the selector as error code when it lies outside its table.
Descriptor FetchDescriptor(const Cpu& cpu, uint16_t selector, Vector vector, uint32_t ext = 0);
/// Writes the byte that holds a descriptor's type, with the accessed bit set.
void SetAccessed(const Cpu& cpu, uint16_t selector, uint8_t type_byte);
/// Sets the accessed bit in memory if it is clear.
void MarkAccessed(const Cpu& cpu, uint16_t selector, const Descriptor& descriptor);
/// Throws as SetTssBusy would.
void CheckTssWritable(const Cpu& cpu, uint16_t selector);
/// Sets or clears the busy bit of the TSS descriptor that `selector` names.
void SetTssBusy(const Cpu& cpu, uint16_t selector, bool busy);

}  // namespace ring3
