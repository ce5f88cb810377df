// Branch tables by themselves: what is filled, what clearing leaves.
#include "translator/branch_tables.h"

#include <catch2/catch.hpp>

using namespace ring3;

namespace {

constexpr WindowId kWindow = 1;
constexpr uint32_t kEip = 0x1234'5678, kOffset = 0x100;

BlockMode Flat() {
  CpuState state;
  state.Reset();
  state.cr0 |= cr0::kPe;
  for (SegmentRegister& segment : state.seg) segment = {0x2B, 0xC093, 0, 0xFFFF'FFFF};
  return BlockMode::Of(state);
}

}  // namespace

TEST_CASE("a page that is filled and cleared again and again is listed once") {
  BranchTables tables;
  const uint32_t* slots = tables.Select(kWindow, Flat());
  for (int i = 0; i < 3; ++i) {
    tables.Insert(kEip, kOffset);
    CHECK(slots[kEip] == kOffset);
    tables.CheckInvariants();
    tables.ClearPages(kWindow, GuestLinear(kEip).Page(), 1);
    CHECK(slots[kEip] == 0);
  }
  tables.Insert(kEip, kOffset);
  tables.ClearWindow(kWindow);
  CHECK(slots[kEip] == 0);
  tables.CheckInvariants();
}

TEST_CASE("clearing a page takes the slots of instructions that reach into it, and no others") {
  BranchTables tables;
  const uint32_t* slots = tables.Select(kWindow, Flat());
  const uint32_t page = kEip & ~kPageMask;
  for (const uint32_t eip : {page - 15, page - 14, page + kPageSize - 1, page + kPageSize}) tables.Insert(eip, kOffset);
  tables.ClearPages(kWindow, GuestLinear(page), 1);
  CHECK(slots[page - 15] == kOffset);
  CHECK(slots[page - 14] == 0);
  CHECK(slots[page + kPageSize - 1] == 0);
  CHECK(slots[page + kPageSize] == kOffset);
}

TEST_CASE("an emptied table is empty, whether it kept its memory or gave it back") {
  for (const FastPaths paths : {FastPaths(), FastPaths::None()}) {
    for (const uint32_t pages : {3u, 1000u}) {
      BranchTables tables(paths);
      const uint32_t* slots = tables.Select(kWindow, Flat());
      for (int round = 0; round < 2; ++round) {
        for (uint32_t i = 0; i < pages; ++i) tables.Insert(kEip + i * (kPageSize + 64), kOffset);
        tables.CheckInvariants();
        tables.ClearWindow(kWindow);
        for (uint32_t i = 0; i < pages; ++i) CHECK(slots[kEip + i * (kPageSize + 64)] == 0);
        tables.CheckInvariants();
      }
    }
  }
}
