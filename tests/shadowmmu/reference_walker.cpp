#include "tests/shadowmmu/reference_walker.h"

namespace ring3 {
namespace {

bool Bit(uint64_t value, unsigned bit) { return value >> bit & 1; }

/// Bits high..low of `value`, in place.
uint64_t Bits(uint64_t value, unsigned high, unsigned low) {
  uint64_t mask = 0;
  for (unsigned bit = low; bit <= high; ++bit) mask |= uint64_t{1} << bit;
  return value & mask;
}

struct Walker {
  std::vector<uint8_t>& ram;
  const PagingState& paging;
  bool pae = Bit(paging.cr4, 5);
  bool nxe = pae && Bit(paging.efer, 11);

  uint64_t A20(uint64_t address) const { return paging.a20_enabled ? address : address - Bits(address, 20, 20); }

  bool InRam(uint64_t address) const { return address < ram.size() && !(address >= 0xA0000 && address < 0xC0000); }

  uint64_t Load(uint64_t address) const {
    uint64_t value = 0;
    for (unsigned i = 0; i < (pae ? 8u : 4u); ++i) {
      const uint64_t byte = InRam(address + i) ? ram[address + i] : 0xFF;
      value |= byte << (8 * i);
    }
    return value;
  }
  void SetBit(uint64_t address, unsigned bit) {
    if (InRam(address)) ram[address] |= static_cast<uint8_t>(1u << bit);
  }
};

}  // namespace

ReferenceWalk WalkByTheBook(std::vector<uint8_t>& ram, const PagingState& paging, uint32_t linear, Access access) {
  Walker w{ram, paging};
  ReferenceWalk result;
  const bool write = access.type == AccessType::kWrite, fetch = access.type == AccessType::kFetch;
  if (!Bit(paging.cr0, 31)) {
    return {true, 0, w.A20(linear), true, true, true, false, true, uint64_t{1} << 32};
  }
  const uint32_t code = (write ? 2 : 0) | (access.user ? 4 : 0) | (fetch && w.nxe ? 16 : 0);
  const auto fault = [&](uint32_t more) {
    ReferenceWalk failed;
    failed.error_code = code | more;
    return failed;
  };

  uint64_t pde_at, pde;
  bool large;
  if (w.pae) {
    const uint64_t pdpte = paging.pdpte[linear / 0x40000000];
    if (!Bit(pdpte, 0)) return fault(0);
    pde_at = w.A20(Bits(pdpte, 35, 12) + linear / 0x200000 % 512 * 8);
    pde = w.Load(pde_at);
    large = Bit(pde, 7);
  } else {
    pde_at = w.A20(Bits(paging.cr3, 31, 12)) + linear / 0x400000 * 4;
    pde = w.Load(pde_at);
    large = Bit(pde, 7) && Bit(paging.cr4, 4);
  }
  if (!Bit(pde, 0)) return fault(0);
  if (w.pae && (Bits(pde, 62, 36) || (Bit(pde, 63) && !w.nxe) || (large && Bits(pde, 20, 13)))) return fault(1 | 8);
  if (!w.pae && large && Bits(pde, 21, paging.pse36 ? 17 : 13)) return fault(1 | 8);

  uint64_t leaf_at = pde_at, leaf = pde;
  if (!large) {
    leaf_at = w.A20(Bits(pde, 35, 12)) + (w.pae ? linear / 4096 % 512 * 8 : linear / 4096 % 1024 * 4);
    leaf = w.Load(leaf_at);
    if (!Bit(leaf, 0)) return fault(0);
    if (w.pae && (Bits(leaf, 62, 36) || (Bit(leaf, 63) && !w.nxe))) return fault(1 | 8);
  }
  result.writable = Bit(pde, 1) && Bit(leaf, 1);
  result.user = Bit(pde, 2) && Bit(leaf, 2);
  result.executable = !(w.nxe && (Bit(pde, 63) || Bit(leaf, 63)));
  result.global = Bit(leaf, 8);
  if (access.user && !result.user) return fault(1);
  if (write && !result.writable && (access.user || Bit(paging.cr0, 16))) return fault(1);
  if (fetch && !result.executable) return fault(1);

  w.SetBit(pde_at, 5);
  w.SetBit(leaf_at, 5);
  if (write) w.SetBit(leaf_at, 6);
  result.dirty = write || Bit(leaf, 6);
  const unsigned offset_bits = !large ? 12 : w.pae ? 21 : 22;
  result.page_bytes = uint64_t{1} << offset_bits;
  const uint64_t pse36 = large && !w.pae && paging.pse36 ? Bits(leaf, 16, 13) << 19 : 0;
  result.physical = w.A20(Bits(leaf, 35, offset_bits) + pse36 + linear % result.page_bytes);
  result.ok = true;
  return result;
}

}  // namespace ring3
