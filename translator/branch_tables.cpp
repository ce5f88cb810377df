#include "translator/branch_tables.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <stdexcept>
#include <unordered_set>

#include "monitor/cpu/fault.h"

namespace ring3 {
namespace {
constexpr uint32_t kLongestReach = 14;  // how far before a page an instruction that ends in it can begin
constexpr uint64_t kPageSlotBytes = kPageSize * BranchTables::kSlotBytes;
constexpr uint32_t kChunkSlots = kPageSize / 64;
/// An empty table keeps the memory of so many pages: giving it back and getting it again costs more than zeroing.
constexpr size_t kKeptPages = 128;
/// Above so many in all tables none is kept. A page takes 16 KiB at most.
constexpr size_t kMostPages = 1536;

void* Reserve(uint64_t bytes, int protection) {
  void* memory = mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    throw UsageError("the host gives no address space for branch tables (check ulimit -v and vm.overcommit_memory)");
  }
  return memory;
}

uint64_t ChunkBytes(size_t pages) { return pages * sizeof(uint64_t); }

}  // namespace

BranchTables::BranchTables(FastPaths fast_paths)
    : fast_paths_(fast_paths), wide_(kWideTables), narrow_(kNarrowTables) {}

BranchTables::~BranchTables() {
  for (std::vector<Table>* tables : {&wide_, &narrow_}) {
    for (Table& table : *tables) {
      if (!table.slots) continue;
      munmap(table.slots, table.filled_pages.size() * kPageSlotBytes);
      munmap(table.chunks, ChunkBytes(table.filled_pages.size()));
    }
  }
  if (nowhere_) munmap(nowhere_, kWideSlots * kSlotBytes);
}

const uint32_t* BranchTables::Nowhere() {
  if (!nowhere_) nowhere_ = static_cast<uint32_t*>(Reserve(kWideSlots * kSlotBytes, PROT_READ));
  return nowhere_;
}

uint32_t* BranchTables::Select(WindowId window, BlockMode mode) {
  if (current_ && current_->window == window && current_->mode == mode) return current_->slots;
  current_ = nullptr;
  if (const auto found = by_mode_.find(mode); found != by_mode_.end()) {
    for (Table* table : found->second) {
      if (table->window == window) current_ = table;
    }
  }
  if (!current_) {
    current_ = &Reuse(mode);
    current_->used = true;
    current_->window = window;
    current_->mode = mode;
    by_mode_[mode].push_back(current_);
  }
  current_->last_selected = ++selections_;
  recent_[RecentSlot(window, mode)] = current_;
  return current_->slots;
}

/// A table of the size for `mode` that nobody uses any more, empty.
BranchTables::Table& BranchTables::Reuse(BlockMode mode) {
  std::vector<Table>& tables = mode.Code16() ? narrow_ : wide_;
  Table& oldest = *std::min_element(tables.begin(), tables.end(), [](const Table& a, const Table& b) {
    return a.used != b.used ? b.used : a.last_selected < b.last_selected;
  });
  if (!oldest.slots) Allocate(oldest, SlotsOf(mode));
  if (oldest.used) {
    Empty(oldest);
    const auto found = by_mode_.find(oldest.mode);
    std::erase(found->second, &oldest);
    if (found->second.empty()) by_mode_.erase(found);
  }
  return oldest;
}

void BranchTables::Allocate(Table& table, uint64_t slots) {
  table.slots = static_cast<uint32_t*>(Reserve(slots * kSlotBytes, PROT_READ | PROT_WRITE));
  table.chunks = static_cast<uint64_t*>(Reserve(ChunkBytes(slots / kPageSize), PROT_READ | PROT_WRITE));
  table.filled_pages.resize(slots / kPageSize);
  table.listed_pages.resize(slots / kPageSize);
}

void BranchTables::Insert(uint32_t eip, uint32_t code_offset) {
  const uint32_t page = eip >> kPageShift;
  if (page >= current_->filled_pages.size()) return;
  current_->filled_pages[page] = true;
  if (!current_->listed_pages[page]) {
    current_->listed_pages[page] = true;
    current_->list.push_back(page);
    ++listed_pages_;
  }
  current_->chunks[page] |= uint64_t{1} << (eip & kPageMask) / kChunkSlots;
  current_->slots[eip] = code_offset;
}

void BranchTables::Remove(BlockMode mode, uint32_t eip, uint32_t code_offset) {
  const auto found = by_mode_.find(mode);
  if (found == by_mode_.end() || eip >= SlotsOf(mode)) return;
  for (Table* table : found->second) {
    if (table->filled_pages[eip >> kPageShift] && table->slots[eip] == code_offset) table->slots[eip] = 0;
  }
}

void BranchTables::ClearPage(Table& table, uint32_t page_number) {
  uint32_t* page = table.slots + uint64_t{page_number} * kPageSize;
  for (uint64_t chunks = table.chunks[page_number]; chunks; chunks &= chunks - 1) {
    std::memset(page + std::countr_zero(chunks) * kChunkSlots, 0, kChunkSlots * kSlotBytes);
  }
  table.chunks[page_number] = 0;
  table.filled_pages[page_number] = false;
}

/// Gives the memory of all pages back to the host.
void BranchTables::Release(Table& table) {
  for (const uint32_t page : table.list) {
    madvise(table.slots + uint64_t{page} * kPageSize, kPageSlotBytes, MADV_DONTNEED);
    table.chunks[page] = 0;
    table.filled_pages[page] = table.listed_pages[page] = false;
  }
  listed_pages_ -= table.list.size();
  table.list.clear();
}

/// Empties `count` slots from `first` on, as far as the table goes; addresses wrap at 4 GiB.
void BranchTables::ClearSlots(Table& table, uint32_t first, uint64_t count) {
  const uint64_t slots = table.filled_pages.size() * uint64_t{kPageSize};
  for (uint64_t done = 0; done < count;) {
    const uint32_t eip = first + static_cast<uint32_t>(done);
    const uint64_t in_page = std::min<uint64_t>(kPageSize - (eip & kPageMask), count - done);
    done += in_page;
    if (eip >= slots || !table.filled_pages[eip >> kPageShift]) continue;
    ++changes_;
    if (in_page == kPageSize) {
      ClearPage(table, eip >> kPageShift);
    } else {
      std::memset(table.slots + eip, 0, in_page * kSlotBytes);
    }
  }
}

void BranchTables::ClearPages(WindowId window, GuestLinear page, uint32_t pages) {
  for (const auto& [mode, tables] : by_mode_) {
    const uint32_t first = (page - kLongestReach).value - mode.Code().base;
    for (Table* table : tables) {
      if (table->window != window || table->list.empty()) continue;
      ClearSlots(*table, first, kLongestReach + uint64_t{pages} * kPageSize);
    }
  }
}

void BranchTables::Empty(Table& table) {
  ++changes_;
  const bool many = table.list.size() > kKeptPages || listed_pages_ > kMostPages;
  if (many || !fast_paths_.Has(FastPath::kKeptBranchTables)) return Release(table);
  for (const uint32_t page : table.list) {
    if (table.filled_pages[page]) ClearPage(table, page);
  }
}

void BranchTables::ClearWindow(WindowId window) {
  for (const auto& [mode, tables] : by_mode_) {
    for (Table* table : tables) {
      if (table->window == window) Empty(*table);
    }
  }
}

void BranchTables::CheckInvariants() const {
  for (const std::vector<Table>* tables : {&wide_, &narrow_}) {
    for (const Table& table : *tables) {
      std::unordered_set<uint32_t> seen;
      for (const uint32_t page : table.list) {
        if (!seen.insert(page).second) throw std::logic_error("branch tables: a page is listed twice");
        if (!table.listed_pages[page]) throw std::logic_error("branch tables: a listed page does not know it");
        const uint32_t* slots = table.slots + uint64_t{page} * kPageSize;
        for (uint32_t slot = 0; slot < kPageSize; ++slot) {
          const bool told = table.filled_pages[page] && (table.chunks[page] >> slot / kChunkSlots & 1);
          if (slots[slot] && !told) throw std::logic_error("branch tables: a filled slot that nothing tells of");
        }
      }
    }
  }
}

}  // namespace ring3
