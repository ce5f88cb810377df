// Bits of page-table entries and the addresses they are read from, shared by the walker and the shadow MMU
// (SDM 3A figures 4-4 and 4-7).
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "shadowmmu/paging.h"

namespace ring3 {

namespace entry {
inline constexpr uint64_t kPresent = 1u << 0, kWritable = 1u << 1, kUser = 1u << 2, kAccessed = 1u << 5,
                          kDirty = 1u << 6, kLarge = 1u << 7, kGlobal = 1u << 8, kNoExecute = 1ull << 63;
/// MAXPHYADDR is 36: what processors with PAE but without CPUID leaf 80000008h have.
inline constexpr uint64_t kPaeAddress = 0xF'FFFF'F000, kPaeLargeAddress = 0xF'FFE0'0000;
inline constexpr uint64_t kPaeReserved = 0x7FFF'FFF0'0000'0000, kPaeLargeReserved = kPaeReserved | 0x1F'E000;
inline constexpr uint64_t kAddress = 0xFFFF'F000, kLargeAddress = 0xFFC0'0000;
/// Bits 21:13 of an entry that maps 4 MiB must be 0, but with PSE-36 bits 16:13 are 35:32 of the address.
inline constexpr uint64_t kLargeReserved = 0x3F'E000, kPse36Address = 0x1'E000;
inline constexpr unsigned kPse36Shift = 32 - 13;
}  // namespace entry

inline bool PagingOn(const PagingState& paging) { return paging.cr0 & cr0::kPg; }
inline bool PaeOn(const PagingState& paging) { return paging.cr4 & cr4::kPae; }
inline bool NxOn(const PagingState& paging) { return PaeOn(paging) && (paging.efer & efer::kNxe); }
inline bool WriteProtectOn(const PagingState& paging) { return paging.cr0 & cr0::kWp; }
inline unsigned EntryBytes(const PagingState& paging) { return PaeOn(paging) ? 8 : 4; }

inline GuestPhysical ApplyA20(const PagingState& paging, uint64_t address) {
  constexpr uint64_t kA20 = 1u << 20;
  return GuestPhysical(paging.a20_enabled ? address : address & ~kA20);
}

/// Whether a present directory entry maps a page of 2 or 4 MiB itself. PAE needs no CR4.PSE.
inline bool IsLarge(const PagingState& paging, uint64_t pde) {
  return (pde & entry::kLarge) && (paging.cr4 & (cr4::kPae | cr4::kPse));
}

inline uint64_t LargePageBytes(const PagingState& paging) { return PaeOn(paging) ? 2u << 20 : 4u << 20; }

inline bool HasReservedBits(const PagingState& paging, uint64_t value, bool large) {
  if (!PaeOn(paging)) return large && (value & entry::kLargeReserved & ~(paging.pse36 ? entry::kPse36Address : 0));
  const uint64_t reserved = large ? entry::kPaeLargeReserved : entry::kPaeReserved;
  return value & (NxOn(paging) ? reserved : reserved | entry::kNoExecute);
}

/// First byte, before A20, of what the entry names: a table or 4 KiB page, or a large page.
inline uint64_t EntryAddress(const PagingState& paging, uint64_t value, bool large) {
  if (PaeOn(paging)) return value & (large ? entry::kPaeLargeAddress : entry::kPaeAddress);
  if (!large) return value & entry::kAddress;
  return (value & entry::kLargeAddress) | (paging.pse36 ? (value & entry::kPse36Address) << entry::kPse36Shift : 0);
}

/// One table in guest-physical memory; entries outside RAM come from whatever device is there.
class TableReader {
 public:
  TableReader(PhysicalMemory& memory, const PagingState& paging, GuestPhysical base)
      : memory_(memory),
        base_(base),
        entry_bytes_(EntryBytes(paging)),
        host_(memory.KindOf(base) == PageKind::kMmio ? nullptr : memory.Flat(base)) {}

  GuestPhysical Address(uint32_t index) const { return base_ + uint64_t{index} * entry_bytes_; }
  uint64_t Entry(uint32_t index) const {
    uint64_t value = 0;
    if (!host_) {
      memory_.Read(Address(index), {reinterpret_cast<uint8_t*>(&value), entry_bytes_});
    } else if (entry_bytes_ == 8) {
      std::memcpy(&value, host_ + index * 8, 8);
    } else {
      std::memcpy(&value, host_ + index * 4, 4);
    }
    return value;
  }
  /// Bytes of `count` entries from `first` on; empty where they are not in RAM or ROM.
  std::span<const uint8_t> Bytes(uint32_t first, uint32_t count) const {
    if (!host_) return {};
    return {host_ + first * size_t{entry_bytes_}, count * size_t{entry_bytes_}};
  }

 private:
  PhysicalMemory& memory_;
  GuestPhysical base_;
  unsigned entry_bytes_;
  const uint8_t* host_;
};

/// Directory that covers `address`, and the entry's index in it. False under a PDPTE that is not present.
inline bool DirectoryFor(const PagingState& paging, GuestLinear address, GuestPhysical& base, uint32_t& index) {
  if (!PaeOn(paging)) {
    base = ApplyA20(paging, paging.cr3 & entry::kAddress);
    index = address.value >> 22;
    return true;
  }
  const uint64_t pdpte = paging.pdpte[address.value >> 30];
  base = ApplyA20(paging, pdpte & entry::kPaeAddress);
  index = (address.value >> 21) & 511;
  return pdpte & entry::kPresent;
}

/// The directory entries of all 2 MiB regions, which are many to read at each address-space switch. None below a PDPTE
/// that is not present: 0.
class Directory {
 public:
  Directory(PhysicalMemory& memory, const PagingState& paging) : pae_(PaeOn(paging)) {
    constexpr uint32_t kPartShift = 30;  // what a PDPTE covers
    for (uint32_t part = 0; part < parts_.size(); ++part) {
      GuestPhysical base;
      uint32_t index;
      if (DirectoryFor(paging, GuestLinear(part << kPartShift), base, index)) parts_[part].emplace(memory, paging, base);
    }
  }

  uint64_t EntryFor(uint32_t region) const {
    const std::optional<TableReader>& part = parts_[region / kRegionsInPart];
    return part ? part->Entry(IndexOf(region)) : 0;
  }
  /// Where that entry is; only where it is in a directory.
  GuestPhysical AddressFor(uint32_t region) const { return parts_[region / kRegionsInPart]->Address(IndexOf(region)); }

 private:
  static constexpr uint32_t kRegionsInPart = 512;
  uint32_t IndexOf(uint32_t region) const { return pae_ ? region % kRegionsInPart : region / 2; }

  bool pae_;
  std::array<std::optional<TableReader>, 4> parts_;
};

/// Index of the page's entry in its page table.
inline uint32_t TableIndex(const PagingState& paging, GuestLinear address) {
  return address.PageNumber() & (PaeOn(paging) ? 511 : 1023);
}

}  // namespace ring3
