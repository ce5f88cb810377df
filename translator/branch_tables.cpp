#include "translator/branch_tables.h"

#include <sys/mman.h>

#include <cstring>

#include "monitor/cpu/fault.h"

namespace ring3 {
namespace {
constexpr uint32_t kLongestReach = 14;  // how far before a page an instruction that ends in it can begin
constexpr uint64_t kPageSlotBytes = kPageSize * BranchTables::kSlotBytes;
}  // namespace

BranchTables::BranchTables() : tables_(kTables) {}

BranchTables::~BranchTables() {
  for (Table& table : tables_) {
    if (table.slots) munmap(table.slots, kTableBytes);
  }
}

uint32_t* BranchTables::Select(WindowId window, BlockMode mode) {
  if (current_ && current_->window == window && current_->mode == mode && current_->used) return current_->slots;
  Table* oldest = &tables_[0];
  for (Table& table : tables_) {
    if (table.used && table.window == window && table.mode == mode) {
      table.last_selected = ++selections_;
      current_ = &table;
      return table.slots;
    }
    if (oldest->used && (!table.used || table.last_selected < oldest->last_selected)) oldest = &table;
  }
  if (!oldest->slots) {
    void* memory =
        mmap(nullptr, kTableBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
      throw UsageError("the host gives no address space for branch tables (check ulimit -v and vm.overcommit_memory)");
    }
    oldest->slots = static_cast<uint32_t*>(memory);
    oldest->filled_pages = std::make_unique<std::bitset<1 << 20>>();
  }
  Empty(*oldest);
  oldest->used = true;
  oldest->window = window;
  oldest->mode = mode;
  oldest->last_selected = ++selections_;
  current_ = oldest;
  return oldest->slots;
}

void BranchTables::Insert(uint32_t eip, uint32_t code_offset) {
  uint32_t page = eip >> kPageShift;
  if (!current_->filled_pages->test(page)) {
    current_->filled_pages->set(page);
    current_->filled_list.push_back(page);
  }
  current_->slots[eip] = code_offset;
}

void BranchTables::Remove(uint32_t eip, uint32_t code_offset) {
  for (Table& table : tables_) {
    if (table.used && table.filled_pages->test(eip >> kPageShift) && table.slots[eip] == code_offset)
      table.slots[eip] = 0;
  }
}

void BranchTables::ClearPage(Table& table, uint32_t page_number) {
  if (!table.filled_pages->test(page_number)) return;
  table.filled_pages->reset(page_number);
  madvise(reinterpret_cast<uint8_t*>(table.slots) + page_number * kPageSlotBytes, kPageSlotBytes, MADV_DONTNEED);
}

void BranchTables::ClearPages(WindowId window, GuestLinear page, uint32_t pages) {
  for (Table& table : tables_) {
    if (!table.used || table.window != window || table.filled_list.empty()) continue;
    for (uint32_t i = 0; i < pages; ++i) ClearPage(table, page.PageNumber() + i);
    const GuestLinear reach = page - kLongestReach;
    if (table.filled_pages->test(reach.PageNumber())) {
      std::memset(table.slots + reach.value, 0, kLongestReach * kSlotBytes);
    }
  }
}

void BranchTables::Empty(Table& table) {
  for (uint32_t page : table.filled_list) ClearPage(table, page);
  table.filled_list.clear();
}

void BranchTables::ClearWindow(WindowId window) {
  for (Table& table : tables_) {
    if (table.used && table.window == window) Empty(table);
  }
}

}  // namespace ring3
