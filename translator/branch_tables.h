// Indirect branches: per window and mode a flat table of host code offsets indexed by guest EIP, in reserved,
// demand-zero address space. Offset 0 is the miss stub, so an empty slot needs no test.
#pragma once

#include <bitset>
#include <cstdint>
#include <memory>
#include <vector>

#include "shadowmmu/address.h"
#include "shadowmmu/shadow_mmu.h"
#include "translator/block_mode.h"

namespace ring3 {

class BranchTables {
 public:
  static constexpr unsigned kTables = 32;
  static constexpr uint64_t kSlotBytes = 4;
  static constexpr uint64_t kTableBytes = kSlotBytes << 32;

  BranchTables();
  ~BranchTables();
  BranchTables(const BranchTables&) = delete;

  /// The table for code of this mode in this window; the least recently selected one is emptied and reused if need be.
  uint32_t* Select(WindowId window, BlockMode mode);

  /// Fills a slot of the table selected last.
  void Insert(uint32_t eip, uint32_t code_offset);
  /// Empties the slot of `eip` wherever it holds `code_offset`.
  void Remove(uint32_t eip, uint32_t code_offset);
  /// Empties the slots of [page, page + pages * 4 KiB), and of instructions that reach into it from the page before.
  void ClearPages(WindowId window, GuestLinear page, uint32_t pages);
  void ClearWindow(WindowId window);

 private:
  struct Table {
    uint32_t* slots = nullptr;
    bool used = false;
    WindowId window = 0;
    BlockMode mode;
    uint64_t last_selected = 0;
    std::unique_ptr<std::bitset<1 << 20>> filled_pages;  // guest pages with a filled slot
    std::vector<uint32_t> filled_list;                   // the same, to walk
  };
  void ClearPage(Table& table, uint32_t page_number);
  void Empty(Table& table);

  std::vector<Table> tables_;
  Table* current_ = nullptr;
  uint64_t selections_ = 0;
};

}  // namespace ring3
