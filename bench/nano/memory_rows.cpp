// Rows about paging: faults, entries of page tables, and address spaces.
#include "machine.h"
#include "rows.h"

extern "C" const uint8_t HandleDemandZero[], UserTouch[], UserSwitches[];
extern "C" uint32_t next_frame, demand_table;

namespace nano {
namespace {

constexpr uint32_t kPageFault = 14;

/// Calls work(first, count) for pieces of up to a page table of entries and adds up the cycles; `prepare` is not timed.
template <class Prepare, class Work>
uint64_t TimedByTable(uint32_t iterations, Prepare prepare, Work work) {
  uint64_t cycles = 0;
  while (iterations > 0) {
    const uint32_t count = iterations < kTableEntries ? iterations : kTableEntries;
    prepare();
    cycles += Timed([&] { work(count); });
    iterations -= count;
  }
  UnmapUserPages(0);
  return cycles;
}

// A program writes to pages that it has not used before; the kernel gives it zeroed ones.
uint64_t PageFault(uint32_t n) {
  SetGate(kPageFault, HandleDemandZero, false);
  demand_table = demo::AddressOf(spaces[0].user_table);
  auto prepare = [] {
    UnmapUserPages(0);
    next_frame = kFrames;
  };
  return TimedByTable(n, prepare, [](uint32_t count) {
    const UserRegisters registers{.eax = kUserRegion, .ecx = 0, .esi = count, .edi = 0};
    RunUser(UserTouch, &registers);
  });
}

/// Maps the whole table and uses each page.
void MapAndTouch() {
  MapUserPages(0, kTableEntries, 0);
  for (uint32_t i = 0; i < kTableEntries; ++i) *reinterpret_cast<volatile uint32_t*>(kUserRegion + i * kPageBytes) = i;
}

uint64_t EntryMap(uint32_t n) {
  return TimedByTable(
      n, [] { UnmapUserPages(0); },
      [](uint32_t count) {
        for (uint32_t i = 0; i < count; ++i) spaces[0].user_table[i] = (kFrames + i * kPageBytes) | kAll;
      });
}

uint64_t EntryRemap(uint32_t n) {
  return TimedByTable(n, MapAndTouch, [](uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) spaces[0].user_table[i] = (kFrames + (kTableEntries + i) * kPageBytes) | kAll;
  });
}

uint64_t EntryProtect(uint32_t n) {
  return TimedByTable(n, MapAndTouch, [](uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) spaces[0].user_table[i] = (kFrames + i * kPageBytes) | kPresent | kUser;
  });
}

// The entry is invalidated and the page read, so that the change has to arrive.
uint64_t EntryRemapAndUse(uint32_t n) {
  return TimedByTable(n, MapAndTouch, [](uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) {
      spaces[0].user_table[i] = (kFrames + (kTableEntries + i) * kPageBytes) | kAll;
      demo::InvalidatePage(kUserRegion + i * kPageBytes);
      *reinterpret_cast<volatile uint32_t*>(kUserRegion + i * kPageBytes);
    }
  });
}

/// Switches between two programs that each write to `pages` pages in their turn.
template <uint32_t pages>
uint64_t ContextSwitch(uint32_t n) {
  MapUserPages(0, pages, 0);
  MapUserPages(1, pages, kTableEntries);
  UserRegisters registers{.eax = 0, .ecx = 0, .esi = 2, .edi = pages};
  RunUser(UserSwitches, &registers);  // first touches are another row's
  registers.esi = n;
  const uint64_t cycles = Timed([&] { RunUser(UserSwitches, &registers); });
  EnterSpace(0);
  UnmapUserPages(0);
  UnmapUserPages(1);
  return cycles;
}

// The stores cost next to nothing compared with what prepares them.
constexpr uint32_t kStores = 4 * kTableEntries;
constexpr Row kRows[] = {
#define NANO_MEMORY_ROW(name, use, ...) {name, __VA_ARGS__},
#include "rows.def"
};

}  // namespace

Rows MemoryRows() { return {kRows, sizeof kRows / sizeof kRows[0]}; }

}  // namespace nano
