// Builds guest page tables in guest RAM for tests.
#pragma once

#include <cstdint>
#include <vector>

#include "shadowmmu/paging.h"

namespace ring3 {

// Entry bits, spelled out here so that tests do not depend on the code's own constants.
inline constexpr uint64_t kP = 1, kRw = 2, kUs = 4, kA = 0x20, kD = 0x40, kPs = 0x80, kG = 0x100, kNx = 1ull << 63;

/// A bump allocator of table pages and setters for entries; 32-bit or PAE format.
class GuestTables {
 public:
  GuestTables(PhysicalMemory& memory, uint32_t first_table, bool pae = false);

  /// An empty directory: the value for CR3. Under PAE, four directories behind a PDPT that is written too.
  uint32_t NewSpace();
  /// Paging on, WP and PSE on, for this space; NXE under PAE.
  PagingState State(uint32_t cr3) const;

  void SetPde(uint32_t cr3, uint32_t linear, uint64_t value);
  uint64_t Pde(uint32_t cr3, uint32_t linear) const;
  /// Makes the page table when there is none (P, R/W, U/S, A set in its directory entry).
  void SetPte(uint32_t cr3, uint32_t linear, uint64_t value);
  uint64_t Pte(uint32_t cr3, uint32_t linear) const;

 private:
  uint32_t NewPage();
  uint64_t PdeAddress(uint32_t cr3, uint32_t linear) const;
  uint64_t PteAddress(uint32_t cr3, uint32_t linear) const;
  uint64_t Load(uint64_t address) const;
  void Store(uint64_t address, uint64_t value);

  PhysicalMemory& memory_;
  uint32_t next_;
  bool pae_;
};

}  // namespace ring3
