#include <algorithm>
#include <cstring>

#include "shadowmmu/shadow_mmu_impl.h"

namespace ring3 {
namespace {

/// Bits that decide what an entry means for a mapping; software-available, PWT, PCD and PAT bits do not.
constexpr uint64_t kAddressBits = 0x7FFF'FFFF'FFFF'F000;
constexpr uint64_t kRightsBits = entry::kPresent | entry::kWritable | entry::kUser | entry::kNoExecute;
constexpr uint64_t kTableEntryMask = kAddressBits | kRightsBits | entry::kAccessed | entry::kLarge;
constexpr uint64_t kPageEntryMask = kAddressBits | kRightsBits | entry::kAccessed | entry::kDirty | entry::kGlobal;

/// D going from 0 to 1 takes nothing away: the page is mapped read-only until a write faults.
bool Changed(uint64_t consumed, uint64_t now, uint64_t mask) {
  const uint64_t difference = (consumed ^ now) & mask;
  return difference != 0 && !(difference == entry::kDirty && (now & entry::kDirty));
}

}  // namespace

void ShadowMmu::Impl::DropBatch::Drop(uint32_t page) {
  ++mmu_.stats.pages_dropped;
  const bool on_host = mmu_.table.Get(window_, page).OnHost();
  mmu_.table.Remove(window_, page);
  if (window_ == kSupervisor) mmu_.lately_dropped[page % mmu_.lately_dropped.size()] = page;
  if (dropped_.end != page) {
    Notify();
    dropped_.first = page;
  }
  dropped_.end = page + 1;
  if (!on_host) return;
  const bool bridge = host_.end > host_.first && !mmu_.table.AnyMapped(window_, host_.end, page);
  if (!bridge) {
    Unmap();
    host_.first = page;
  }
  host_.end = page + 1;
}

void ShadowMmu::Impl::DropBatch::Unmap() {
  if (host_.end > host_.first) refused_ |= !mmu_.space.Unmap(window_, host_.first, host_.end - host_.first);
  host_ = {};
}

void ShadowMmu::Impl::DropBatch::Notify() {
  if (dropped_.end > dropped_.first && mmu_.listener) {
    mmu_.listener->PagesDropped(window_, GuestLinear(dropped_.first << kPageShift), dropped_.end - dropped_.first);
  }
  dropped_ = {};
}

void ShadowMmu::Impl::DropBatch::Finish() {
  Notify();
  Unmap();
  // The host had no room for the hole; a window emptied whole needs none.
  if (refused_) mmu_.Empty(window_);
  refused_ = false;
}

void ShadowMmu::Impl::DropPage(WindowId window, uint32_t page) { DropBatch(*this, window).Drop(page); }

GuestPhysical ShadowMmu::Impl::TableOf(uint64_t pde, uint32_t region) const {
  // A table of 1024 entries covers two regions.
  constexpr uint64_t kHalfTable = 2048;
  const uint64_t half = PaeOn(paging) ? 0 : (region & 1) * kHalfTable;
  return ApplyA20(paging, EntryAddress(paging, pde, false)) + half;
}

/// Compares with the current directory; the snapshot follows a change that takes nothing away. A kernel's entries
/// differ between address spaces in A and D alone: each directory is a copy in which they have not been set yet. A
/// processor keeps its global translations all the same (unless `with_global`), and may set A of a table's entry ahead
/// of use.
bool ShadowMmu::Impl::DirectoryEntryChanged(const Directory& directory, Region& region, uint32_t number,
                                            bool with_global) {
  const uint64_t pde = directory.EntryFor(number);
  if (pde == region.pde) return false;
  const uint64_t beyond_accessed = (pde ^ region.pde) & ~uint64_t{entry::kAccessed};
  if (region.large) {
    const bool global = (paging.cr4 & cr4::kPge) && (pde & region.pde & entry::kGlobal);
    if (!with_global && global && !(beyond_accessed & ~uint64_t{entry::kDirty})) return false;
  } else if (beyond_accessed == 0) {
    const GuestPhysical address = directory.AddressFor(number);
    if (memory.KindOf(address) == PageKind::kRam && memory.IsPlain(address.Page())) {
      *memory.Flat(address) |= entry::kAccessed;
      return false;
    }
  }
  if (Changed(region.pde, pde, region.large ? kPageEntryMask | entry::kLarge : kTableEntryMask)) return true;
  region.pde = pde;
  return false;
}

void ShadowMmu::Impl::DropRegion(DropBatch& batch, Region& region, uint32_t number) {
  for (uint32_t word = 0; word < region.mapped.size(); ++word) {
    for (uint64_t bits = region.mapped[word]; bits; bits &= bits - 1) {
      batch.Drop(number * Region::kPages + word * 64 + static_cast<uint32_t>(std::countr_zero(bits)));
    }
  }
}

void ShadowMmu::Impl::CompareTable(DropBatch& batch, Region& region, uint32_t number, bool with_global) {
  const TableReader entries(memory, paging, TableOf(region.pde, number));
  for (uint32_t word = 0; word < region.mapped.size(); ++word) {
    const uint64_t mapped = region.mapped[word], compared = with_global ? mapped : mapped & ~region.global[word];
    if (!compared || SeenBefore(region, entries, word)) continue;
    for (uint64_t bits = compared; bits; bits &= bits - 1) {
      const uint32_t i = word * 64 + static_cast<uint32_t>(std::countr_zero(bits));
      const uint64_t pte = entries.Entry(i);
      if (pte == region.pte[i]) continue;
      if (Changed(region.pte[i], pte, kPageEntryMask)) {
        batch.Drop(number * Region::kPages + i);
      } else {
        region.pte[i] = pte;
      }
    }
    if (compared == mapped) NoteSeen(region, entries, word);
  }
}

/// Whether 64 entries are byte for byte what they were when their pages' snapshots were last seen to agree with them.
bool ShadowMmu::Impl::SeenBefore(const Region& region, const TableReader& entries, uint32_t word) {
  if (!(region.seen_words & 1u << word)) return false;
  const std::span<const uint8_t> now = entries.Bytes(word * 64, 64);
  return !now.empty() && std::memcmp(now.data(), &region.seen[word * now.size()], now.size()) == 0;
}

void ShadowMmu::Impl::NoteSeen(Region& region, const TableReader& entries, uint32_t word) const {
  const std::span<const uint8_t> now = entries.Bytes(word * 64, 64);
  if (now.empty() || !options.fast_paths.Has(FastPath::kTableImages)) return;
  std::memcpy(&region.seen[word * now.size()], now.data(), now.size());
  region.seen_words |= static_cast<uint8_t>(1u << word);
}

void ShadowMmu::Impl::Compare(WindowId window, bool with_global) {
  if (!PagingOn(paging) || table.Empty(window)) return;
  const Directory directory(memory, paging);
  DropBatch batch(*this, window);
  table.ForEachRegion(window, [&](uint32_t number, Region& region) {
    if (DirectoryEntryChanged(directory, region, number, with_global)) {
      DropRegion(batch, region, number);
    } else if (!region.large) {
      CompareTable(batch, region, number, with_global);
    }
    if (region.mapped_pages == 0) table.Release(window, number);
  });
}

void ShadowMmu::Impl::ComparePage(WindowId window, uint32_t page) {
  if (!PagingOn(paging)) return;
  // Two regions share a directory entry of the 32-bit format, and a large page has to go whole.
  const uint32_t number = page / Region::kPages, sibling = PaeOn(paging) ? number : number ^ 1;
  const Directory directory(memory, paging);
  DropBatch batch(*this, window);
  for (uint32_t n = std::min(number, sibling); n <= std::max(number, sibling); ++n) {
    Region* region = table.Find(window, n);
    if (!region) continue;
    if (DirectoryEntryChanged(directory, *region, n, true)) {
      DropRegion(batch, *region, n);
    } else if (n == number && !region->large && table.Get(window, page).Has(PageRecord::kMapped)) {
      const uint32_t i = page % Region::kPages;
      const uint64_t pte = TableReader(memory, paging, TableOf(region->pde, n)).Entry(i);
      if (Changed(region->pte[i], pte, kPageEntryMask)) {
        batch.Drop(page);
      } else {
        region->pte[i] = pte;
        region->seen_words &= static_cast<uint8_t>(~(1u << i / 64));
      }
    }
    if (region->mapped_pages == 0) table.Release(window, n);
  }
}

}  // namespace ring3
