// Physical pages that hold translated code: which blocks were made from them, how guest stores to them are noticed, and
// the ladder that pages climb which are written often.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "shadowmmu/physical_memory.h"
#include "shadowmmu/shadow_mmu.h"
#include "translator/branch_tables.h"
#include "translator/code_cache.h"
#include "translator/fast_paths.h"

namespace ring3 {

struct InvalidationStats {
  uint64_t code_page_writes = 0, blocks = 0, harmless_writes = 0, stale_blocks = 0;
};

/// First rung: every mapping of the page is write-protected, and a store drops just the blocks it overlaps. A page that
/// is written often is left writable instead, and its blocks check their source before they run. Once it has been quiet
/// for a while it climbs down again.
class CodePages : public WriteListener {
 public:
  CodePages(PhysicalMemory& memory, ShadowMmu& mmu, CodeCache& cache, BranchTables& tables, FastPaths fast_paths);
  ~CodePages() override;
  CodePages(const CodePages&) = delete;

  /// A block was made; it says itself which pages from.
  void Add(BlockId block);
  /// Takes a block out of everything: pages, branch tables, links, lookup.
  void Kill(BlockId block);
  /// Kills the blocks made from any of these bytes. Returns how many.
  size_t KillOverlapping(GuestPhysical address, uint32_t size);
  bool SelfChecking(GuestPhysical address) const;
  const std::vector<BlockId>& BlocksOf(uint64_t page_number) { return pages_[page_number].blocks; }

  /// Bytes of a page with translations are about to change.
  void WatchedPageWritten(GuestPhysical address, uint32_t size) override;
  /// A self-checking block found its source changed.
  void DropStale(BlockId block);
  /// Pages that have been quiet since the last call climb down.
  void Relax();

  const InvalidationStats& Stats() const { return stats_; }

 private:
  struct Page {
    std::vector<BlockId> blocks;
    uint32_t writes = 0;         // guest stores that faulted, or blocks found stale, since the last Relax()
    bool self_checking = false;  // left writable; its blocks compare their source before they run
  };

  void Watch(GuestPhysical page, BlockId block);
  void Remove(GuestPhysical page, BlockId block);
  void KillAll(const Page& page);
  void NoteWrite(uint64_t page_number);

  PhysicalMemory& memory_;
  ShadowMmu& mmu_;
  CodeCache& cache_;
  BranchTables& tables_;
  const FastPaths fast_paths_;
  std::unordered_map<uint64_t, Page> pages_;  // by physical page number
  std::unordered_set<uint64_t> busy_;         // written or self-checking: what Relax() looks at
  InvalidationStats stats_;
};

}  // namespace ring3
