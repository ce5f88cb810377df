#include "translator/code_pages.h"

#include <algorithm>
#include <iterator>

namespace ring3 {
namespace {

// A page that is written this often between two calls of Relax() is left writable and its blocks check themselves.
constexpr uint32_t kWritesBeforeSelfChecking = 24;

/// Whether [first, end) holds bytes that the block was made from.
bool MadeFrom(const Block& block, uint64_t first, uint64_t end) {
  const uint64_t begin = block.key.physical.value;
  if (!block.crosses_page) return begin < end && first < begin + block.guest_bytes;
  const uint64_t in_first = kPageSize - block.key.physical.PageOffset(), second = block.second_page.value;
  return (begin < end && first < begin + in_first) || (second < end && first < second + block.guest_bytes - in_first);
}

}  // namespace

CodePages::CodePages(PhysicalMemory& memory, ShadowMmu& mmu, CodeCache& cache, BranchTables& tables,
                     FastPaths fast_paths)
    : memory_(memory), mmu_(mmu), cache_(cache), tables_(tables), fast_paths_(fast_paths) {
  memory_.SetWriteListener(this);
}

CodePages::~CodePages() { memory_.SetWriteListener(nullptr); }

bool CodePages::SelfChecking(GuestPhysical address) const {
  const auto found = pages_.find(address.PageNumber());
  return found != pages_.end() && found->second.self_checking;
}

void CodePages::Add(BlockId id) {
  const Block& block = cache_.Get(id);
  const GuestPhysical first = block.key.physical.Page(), second = block.second_page.Page();
  const bool two_pages = block.crosses_page && second != first;
  Watch(first, id);
  if (two_pages) Watch(second, id);
}

void CodePages::Watch(GuestPhysical page, BlockId block) {
  Page& record = pages_[page.PageNumber()];
  if (record.blocks.empty() && !record.self_checking) {
    memory_.SetWatched(page, true);
    mmu_.ProtectPage(page);
  }
  record.blocks.push_back(block);
}

void CodePages::Remove(GuestPhysical page, BlockId block) {
  std::vector<BlockId>& blocks = pages_[page.PageNumber()].blocks;
  std::erase(blocks, block);
  if (!blocks.empty() || !memory_.IsWatched(page)) return;
  memory_.SetWatched(page, false);
  mmu_.UnprotectPage(page);
}

void CodePages::Kill(BlockId id) {
  const Block& block = cache_.Get(id);
  Remove(block.key.physical.Page(), id);
  if (block.crosses_page) Remove(block.second_page.Page(), id);
  tables_.Remove(block.key.mode, block.key.eip, block.host_offset);
  cache_.Kill(id);
}

void CodePages::KillAll(const Page& page) {
  const std::vector<BlockId> all = page.blocks;
  for (BlockId id : all) Kill(id);
}

size_t CodePages::KillOverlapping(GuestPhysical address, uint32_t size) {
  const auto found = pages_.find(address.PageNumber());
  if (found == pages_.end()) return 0;
  std::vector<BlockId> hit;
  std::copy_if(found->second.blocks.begin(), found->second.blocks.end(), std::back_inserter(hit),
               [&](BlockId id) { return MadeFrom(cache_.Get(id), address.value, address.value + size); });
  for (BlockId id : hit) Kill(id);
  return hit.size();
}

void CodePages::WatchedPageWritten(GuestPhysical address, uint32_t size) {
  const size_t killed = KillOverlapping(address, size);
  ++(killed ? stats_.code_page_writes : stats_.harmless_writes);
  stats_.blocks += killed;
  NoteWrite(address.PageNumber());
}

void CodePages::NoteWrite(uint64_t page_number) {
  busy_.insert(page_number);
  Page& page = pages_[page_number];
  if (++page.writes < kWritesBeforeSelfChecking || page.self_checking) return;
  if (!fast_paths_.Has(FastPath::kSelfCheckingCode)) return;
  page.self_checking = true;
  KillAll(page);
}

void CodePages::DropStale(BlockId id) {
  ++stats_.stale_blocks;
  const uint64_t page_number = cache_.Get(id).key.physical.PageNumber();
  Kill(id);
  NoteWrite(page_number);
}

void CodePages::Relax() {
  std::erase_if(busy_, [&](uint64_t number) {
    Page& page = pages_[number];
    const bool quiet = page.writes == 0;
    page.writes = 0;
    if (quiet && page.self_checking) {
      KillAll(page);
      page.self_checking = false;
    }
    return quiet;
  });
}

}  // namespace ring3
