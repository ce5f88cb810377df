// Inside of the shadow MMU: shared by the files that fill, compare and check.
#pragma once

#include <optional>
#include <vector>

#include "shadowmmu/mapping_table.h"
#include "shadowmmu/paging_entry.h"
#include "shadowmmu/window_space.h"

namespace ring3 {

/// The guest entries that a page's mapping is made from.
struct ConsumedEntries {
  uint64_t pde = 0;
  bool large = false;
  uint64_t pte = 0;  // unless large
};

/// Keys of a window's address space that no CR3 value equals: none yet, and paging off.
inline constexpr uint64_t kNoKey = ~uint64_t{0}, kIdentityKey = ~uint64_t{1};

struct ShadowMmu::Impl final : KindListener {
  static constexpr WindowId kSupervisor = 0, kFirstUser = 1;
  /// mmap or mprotect in the middle of a mapping leaves two more than there were.
  static constexpr uint32_t kMappingsPerCall = 2;

  class DropBatch;

  Impl(PhysicalMemory& memory, ShadowMmuOptions options);
  ~Impl() override;

  // shadow_mmu.cpp: windows and their address spaces.
  void SetPaging(const PagingState& next);
  void LoadCr3(const PagingState& next);
  void SelectUserWindow();
  void Empty(WindowId window);
  bool EvictOne(WindowId needed, bool even_needed);
  void EnsureBudget(WindowId needed);
  void ProtectPage(GuestPhysical page);
  void KindChanged(GuestPhysical first, uint64_t bytes) override;
  // shadow_trap.cpp: pages whose next write is to be noticed.
  void WritesTrapped(std::span<const uint32_t> pages) override;
  bool ProtectTrapped(WindowId window, uint32_t linear_page, uint32_t physical_page);
  void SetUnmapped(std::span<const GuestLinear> pages);
  /// Kernels take the mappings of user pages away when they switch address spaces, and map some of their own for a
  /// short time: what was dropped once will be again.
  bool LatelyDropped(WindowId window, uint32_t page) const {
    return window == kSupervisor && lately_dropped[page % lately_dropped.size()] == page;
  }
  bool IsProtected(GuestPhysical page) const { return protected_pages[page.PageNumber()]; }
  unsigned Windows() const { return static_cast<unsigned>(keys.size()); }
  bool IsCurrent(WindowId window) const { return window == kSupervisor || window == current_user; }

  // shadow_fill.cpp: faults in, mappings out.
  FillResult HandleFault(HostAddress address, bool write);
  FillResult PrepareFetch(WindowId window, GuestLinear address, bool user);
  FillResult Fill(WindowId window, GuestLinear address, Access access);
  Region& RegionFor(WindowId window, uint32_t page, const ConsumedEntries& entries);
  bool RecordFetch(WindowId window, uint32_t page, const Translation& translation);
  bool MapRun(WindowId window, uint32_t page, const Translation& translation);
  bool MakeRunWritable(WindowId window, uint32_t page);
  std::optional<PageRecord> Desired(WindowId window, uint32_t page, const ConsumedEntries& entries) const;
  GuestPhysical TableOf(uint64_t pde, uint32_t region) const;

  // shadow_compare.cpp: drops what the guest's tables no longer say.
  void Compare(WindowId window, bool with_global);
  void ComparePage(WindowId window, uint32_t page);
  bool DirectoryEntryChanged(const Directory& directory, Region& region, uint32_t number, bool with_global);
  void CompareTable(DropBatch& batch, Region& region, uint32_t number, bool with_global);
  static bool SeenBefore(const Region& region, const TableReader& entries, uint32_t word);
  void NoteSeen(Region& region, const TableReader& entries, uint32_t word) const;
  void DropRegion(DropBatch& batch, Region& region, uint32_t number);
  void DropPage(WindowId window, uint32_t page);

  // shadow_check.cpp.
  void CheckInvariants() const;

  PhysicalMemory& memory;
  ShadowMmuOptions options;
  WindowSpace space;
  MappingTable table;
  PagingState paging;
  std::vector<uint64_t> keys;       // per window: CR3 it belongs to; unused for the supervisor window
  std::vector<uint64_t> last_used;  // per window, in units of `clock`
  uint64_t clock = 0;
  WindowId current_user = kFirstUser;
  std::vector<bool> protected_pages;            // per physical page
  std::vector<uint32_t> unmapped;               // linear pages, few
  std::array<uint32_t, 1024> lately_dropped{};  // linear pages of the supervisor window, by their low bits
  MappingListener* listener = nullptr;
  ShadowMmuStats stats;
};

/// Unmaps pages of one window in as few system calls and notices as their order allows. Finish() before the guest runs.
class ShadowMmu::Impl::DropBatch {
 public:
  DropBatch(Impl& mmu, WindowId window) : mmu_(mmu), window_(window) {}
  DropBatch(const DropBatch&) = delete;
  DropBatch& operator=(const DropBatch&) = delete;
  ~DropBatch() { Finish(); }

  WindowId Window() const { return window_; }
  /// Pages in ascending order.
  void Drop(uint32_t page);
  void Finish();

 private:
  struct Run {
    uint32_t first = 0, end = 0;
  };
  void Unmap();
  void Notify();

  Impl& mmu_;
  WindowId window_;
  Run host_;     // to unmap; bridges gaps in which nothing is mapped
  Run dropped_;  // to tell the listener of; exact
  bool refused_ = false;
};

}  // namespace ring3
