// What is mapped where: per window and linear page, which physical page with which rights and from which guest entries;
// and the other way round, all places where a physical page is mapped.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "shadowmmu/shadow_mmu.h"

namespace ring3 {

/// One mapped page of a window; all zero when nothing is mapped. A page that code was fetched from alone is recorded so
/// that changes are seen, but the host does not map it.
struct PageRecord {
  static constexpr uint32_t kMapped = 1, kHostWritable = 2, kGlobal = 4, kUser = 8, kExecutable = 16, kFetchOnly = 32;
  uint32_t bits = 0;

  bool Has(uint32_t flags) const { return (bits & flags) == flags; }
  bool OnHost() const { return (bits & (kMapped | kFetchOnly)) == kMapped; }
  uint32_t PhysicalPage() const { return bits >> kPageShift; }
  GuestPhysical Physical() const { return GuestPhysical(bits & ~kPageMask); }
  bool operator==(const PageRecord&) const = default;
};
static_assert(PhysicalMemory::kRomEnd <= 1ull << 32, "a physical page number must fit in a PageRecord");

using PageBitmap = std::array<uint64_t, 8>;

/// 2 MiB of a window. All its pages come from one directory entry in either format.
struct Region {
  static constexpr uint32_t kPages = 512;

  uint64_t pde = 0;    // as consumed; 0 with paging off
  bool large = false;  // the directory entry maps the pages itself; also with paging off
  uint32_t mapped_pages = 0;
  PageBitmap mapped{}, global{};
  std::array<PageRecord, kPages> record{};
  std::array<uint64_t, kPages> pte{};  // as consumed, of mapped pages of a region that isn't large
  // Bit w: `seen` has entries 64w to 64w + 63 as they are in memory, and those of mapped pages are what `pte` says.
  uint8_t seen_words = 0;
  std::array<std::byte, kPages * sizeof(uint64_t)> seen;
  std::array<uint32_t, kPages> next{}, previous{};  // links of the reverse map
};

/// Pure bookkeeping: makes no system calls and knows nothing of paging.
class MappingTable {
 public:
  static constexpr uint32_t kRegions = 2048;

  MappingTable(unsigned windows, uint64_t memory_bytes);

  Region* Find(WindowId window, uint32_t region) const { return windows_[window].regions[region].get(); }
  Region& Make(WindowId window, uint32_t region);
  /// The region must have no mapped pages.
  void Release(WindowId window, uint32_t region);

  PageRecord Get(WindowId window, uint32_t page) const {
    const Region* region = Find(window, page / Region::kPages);
    return region ? region->record[page % Region::kPages] : PageRecord{};
  }
  /// The page must not be mapped; its region must exist.
  void Insert(WindowId window, uint32_t page, PageRecord record, uint64_t pte);
  void Remove(WindowId window, uint32_t page);
  void SetWritable(WindowId window, uint32_t page, bool writable);

  bool Empty(WindowId window) const { return windows_[window].mapped_pages == 0; }
  bool AnyMapped(WindowId window, uint32_t first, uint32_t end) const;

  /// Calls visit(region number, Region&) for every region in use; it may release that region.
  template <class Visit>
  void ForEachRegion(WindowId window, Visit visit) {
    for (uint32_t word = 0; word < windows_[window].used.size(); ++word) {
      for (uint64_t bits = windows_[window].used[word]; bits; bits &= bits - 1) {
        const uint32_t number = word * 64 + static_cast<uint32_t>(std::countr_zero(bits));
        visit(number, *Find(window, number));
      }
    }
  }

  /// Every mapping of a physical page, as a chain of aliases; kNoAlias ends it.
  using Alias = uint32_t;
  static constexpr Alias kNoAlias = 0;
  Alias FirstAlias(uint32_t physical_page) const { return heads_[physical_page]; }
  Alias NextAlias(Alias alias) const { return RegionOf(alias).next[PageOf(alias) % Region::kPages]; }
  static WindowId WindowOf(Alias alias) { return static_cast<WindowId>((alias - 1) >> kWindowShift); }
  static uint32_t PageOf(Alias alias) { return (alias - 1) & ((1u << kWindowShift) - 1); }

  /// Host mappings that all windows together are made of, PROT_NONE stretches between pages included.
  uint32_t HostMappings() const { return 1 + boundaries_; }
  /// Pages with equal keys lie in one host mapping when they are neighbours; 0 for a page that the host does not map.
  uint64_t HostKey(WindowId window, uint32_t page) const { return HostKey(page, Get(window, page)); }
  static uint64_t HostKey(uint32_t page, PageRecord record) {
    if (!record.OnHost()) return 0;
    const uint64_t offset = static_cast<uint32_t>(record.PhysicalPage() - page);
    return 1 | (record.Has(PageRecord::kHostWritable) ? 2 : 0) | offset << 2;
  }

  /// Recounts everything derived; returns a message about the first difference, or nullptr.
  const char* FindInconsistency() const;

 private:
  static constexpr unsigned kWindowShift = 20;
  struct Window {
    std::array<std::unique_ptr<Region>, kRegions> regions;
    std::array<uint64_t, kRegions / 64> used{};
    uint32_t mapped_pages = 0;
  };

  static Alias MakeAlias(WindowId window, uint32_t page) { return (uint32_t{window} << kWindowShift | page) + 1; }
  Region& RegionOf(Alias alias) const { return *Find(WindowOf(alias), PageOf(alias) / Region::kPages); }
  uint32_t NextUsed(WindowId window, uint32_t number) const;
  uint32_t EdgesAround(WindowId window, uint32_t page, uint64_t key) const;
  void Replace(WindowId window, uint32_t page, PageRecord record);
  void Link(Alias alias, uint32_t physical_page);
  void Unlink(Alias alias, uint32_t physical_page);

  std::vector<Window> windows_;
  ZeroedArray<Alias> heads_;  // per physical page
  std::vector<std::unique_ptr<Region>> spare_;
  uint32_t boundaries_ = 0;  // places in all windows where one host mapping ends and another begins
};

}  // namespace ring3
