// Indirect branches: per window and mode a flat table of host code offsets indexed by guest EIP, in reserved,
// demand-zero address space. Offset 0 is the miss stub, so an empty slot needs no test.
#pragma once

#include <array>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "shadowmmu/address.h"
#include "shadowmmu/shadow_mmu.h"
#include "translator/block_mode.h"
#include "translator/fast_paths.h"

namespace ring3 {

class BranchTables {
 public:
  /// Tables for 32-bit code, and for 16-bit code, whose branches cut EIP to 16 bits.
  static constexpr unsigned kWideTables = 32, kNarrowTables = 1024;
  static constexpr uint64_t kSlotBytes = 4;
  static constexpr uint64_t kWideSlots = 1ull << 32, kNarrowSlots = 1u << 16;

  explicit BranchTables(FastPaths fast_paths = {});
  ~BranchTables();
  BranchTables(const BranchTables&) = delete;

  /// How many EIPs a table of this mode has slots for.
  static uint64_t SlotsOf(BlockMode mode) { return mode.Code16() ? kNarrowSlots : kWideSlots; }

  /// The table for code of this mode in this window; the least recently selected one is emptied and reused if need be.
  uint32_t* Select(WindowId window, BlockMode mode);

  /// The same if it was selected not long ago; else nullptr. Uses general registers only.
  const uint32_t* Recent(WindowId window, BlockMode mode) const {
    const Table* table = recent_[RecentSlot(window, mode)];
    return table && table->used && table->window == window && table->mode == mode ? table->slots : nullptr;
  }

  /// A table without entries, for code that is to leave at each branch.
  const uint32_t* Nowhere();
  /// Fills a slot of the table selected last; an EIP that it has no slot for is left to Lookup.
  void Insert(uint32_t eip, uint32_t code_offset);
  /// Empties the slot of `eip` in the tables of `mode` that hold `code_offset` there.
  void Remove(BlockMode mode, uint32_t eip, uint32_t code_offset);
  /// Empties the slots of [page, page + pages * 4 KiB), and of instructions that reach into it from the page before.
  void ClearPages(WindowId window, GuestLinear page, uint32_t pages);
  void ClearWindow(WindowId window);
  /// How often slots were emptied because what they stood for may have changed.
  uint64_t Changes() const { return changes_; }

  void CheckInvariants() const;

 private:
  struct Table {
    uint32_t* slots = nullptr;
    bool used = false;
    WindowId window = 0;
    BlockMode mode;
    uint64_t last_selected = 0;
    uint64_t* chunks = nullptr;      // per page, a bit for each 64 EIPs that may have a filled slot
    std::vector<bool> filled_pages;  // 4 KiB of EIPs with a filled slot
    std::vector<bool> listed_pages;  // those that hold memory: filled since the table was given back to the host
    std::vector<uint32_t> list;      // the same, to walk
  };
  struct ModeHash {
    size_t operator()(BlockMode mode) const { return mode.Hash(); }
  };

  static constexpr unsigned kRecent = 64;
  static unsigned RecentSlot(WindowId window, BlockMode mode) {
    return (mode.Bits() ^ mode.Bits() >> 8 ^ mode.Bits() >> 20 ^ window) % kRecent;
  }

  Table& Reuse(BlockMode mode);
  static void Allocate(Table& table, uint64_t slots);
  void ClearSlots(Table& table, uint32_t first, uint64_t count);
  static void ClearPage(Table& table, uint32_t page_number);
  void Release(Table& table);
  void Empty(Table& table);

  const FastPaths fast_paths_;
  std::vector<Table> wide_, narrow_;
  uint32_t* nowhere_ = nullptr;
  std::unordered_map<BlockMode, std::vector<Table*>, ModeHash> by_mode_;
  Table* current_ = nullptr;
  std::array<const Table*, kRecent> recent_{};
  size_t listed_pages_ = 0;  // of all tables
  uint64_t selections_ = 0, changes_ = 0;
};

}  // namespace ring3
