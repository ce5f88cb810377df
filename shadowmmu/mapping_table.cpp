#include "shadowmmu/mapping_table.h"

#include <algorithm>

#include "shadowmmu/window_space.h"

namespace ring3 {
namespace {

uint64_t Bit(uint32_t index) { return uint64_t{1} << (index % 64); }

}  // namespace

MappingTable::MappingTable(unsigned windows, uint64_t memory_bytes)
    : windows_(windows), heads_(memory_bytes >> kPageShift) {
  static_assert(kNoAlias == 0);
}

Region& MappingTable::Make(WindowId window, uint32_t region) {
  Window& w = windows_[window];
  std::unique_ptr<Region>& slot = w.regions[region];
  if (slot) return *slot;
  if (spare_.empty()) {
    slot = std::make_unique<Region>();
  } else {
    slot = std::move(spare_.back());
    spare_.pop_back();
  }
  w.used[region / 64] |= Bit(region);
  return *slot;
}

void MappingTable::Release(WindowId window, uint32_t region) {
  Window& w = windows_[window];
  w.used[region / 64] &= ~Bit(region);
  spare_.push_back(std::move(w.regions[region]));
}

void MappingTable::Insert(WindowId window, uint32_t page, PageRecord record, uint64_t pte) {
  Region& region = *Find(window, page / Region::kPages);
  const uint32_t index = page % Region::kPages;
  Replace(window, page, record);
  region.pte[index] = pte;
  region.seen_words &= static_cast<uint8_t>(~(1u << (index / 64)));
  region.mapped[index / 64] |= Bit(index);
  if (record.Has(PageRecord::kGlobal)) region.global[index / 64] |= Bit(index);
  ++region.mapped_pages;
  ++windows_[window].mapped_pages;
  Link(MakeAlias(window, page), record.PhysicalPage());
}

void MappingTable::Remove(WindowId window, uint32_t page) {
  Region& region = *Find(window, page / Region::kPages);
  const uint32_t index = page % Region::kPages;
  Unlink(MakeAlias(window, page), region.record[index].PhysicalPage());
  Replace(window, page, PageRecord{});
  region.mapped[index / 64] &= ~Bit(index);
  region.global[index / 64] &= ~Bit(index);
  --region.mapped_pages;
  --windows_[window].mapped_pages;
}

void MappingTable::SetWritable(WindowId window, uint32_t page, bool writable) {
  PageRecord record = Get(window, page);
  record.bits = writable ? record.bits | PageRecord::kHostWritable : record.bits & ~PageRecord::kHostWritable;
  Replace(window, page, record);
}

/// The first region behind `number` that is in use, or kRegions.
uint32_t MappingTable::NextUsed(WindowId window, uint32_t number) const {
  const auto& used = windows_[window].used;
  for (uint32_t next = number + 1; next < kRegions; next = (next | 63) + 1) {
    const uint64_t rest = used[next / 64] >> (next % 64);
    if (rest) return next + static_cast<uint32_t>(std::countr_zero(rest));
  }
  return kRegions;
}

bool MappingTable::AnyMapped(WindowId window, uint32_t first, uint32_t end) const {
  while (first < end) {
    const uint32_t number = first / Region::kPages;
    const Region* region = Find(window, number);
    if (!region) {
      first = NextUsed(window, number) * Region::kPages;
      continue;
    }
    const uint32_t index = first % Region::kPages;
    const uint32_t step = std::min(64 - index % 64, end - first);
    const uint64_t wanted = step == 64 ? ~uint64_t{0} : (Bit(step) - 1) << (index % 64);
    if (region->mapped[index / 64] & wanted) return true;
    first += step;
  }
  return false;
}

uint32_t MappingTable::EdgesAround(WindowId window, uint32_t page, uint64_t key) const {
  const uint64_t left = page > 0 ? HostKey(window, page - 1) : 0;
  const uint64_t right = page + 1 < kWindowPages ? HostKey(window, page + 1) : 0;
  return (left != key) + (right != key);
}

void MappingTable::Replace(WindowId window, uint32_t page, PageRecord record) {
  PageRecord& old = Find(window, page / Region::kPages)->record[page % Region::kPages];
  boundaries_ -= EdgesAround(window, page, HostKey(page, old));
  boundaries_ += EdgesAround(window, page, HostKey(page, record));
  old = record;
}

void MappingTable::Link(Alias alias, uint32_t physical_page) {
  Region& region = RegionOf(alias);
  const uint32_t index = PageOf(alias) % Region::kPages;
  const Alias head = heads_[physical_page];
  region.next[index] = head;
  region.previous[index] = kNoAlias;
  if (head != kNoAlias) RegionOf(head).previous[PageOf(head) % Region::kPages] = alias;
  heads_[physical_page] = alias;
}

void MappingTable::Unlink(Alias alias, uint32_t physical_page) {
  const Region& region = RegionOf(alias);
  const uint32_t index = PageOf(alias) % Region::kPages;
  const Alias next = region.next[index], previous = region.previous[index];
  if (previous == kNoAlias) {
    heads_[physical_page] = next;
  } else {
    RegionOf(previous).next[PageOf(previous) % Region::kPages] = next;
  }
  if (next != kNoAlias) RegionOf(next).previous[PageOf(next) % Region::kPages] = previous;
}

const char* MappingTable::FindInconsistency() const {
  uint32_t boundaries = 0;
  uint64_t mapped = 0, linked = 0;
  for (size_t w = 0; w < windows_.size(); ++w) {
    const auto id = static_cast<WindowId>(w);
    uint32_t in_window = 0;
    uint64_t key = 0;  // of the page before; regions not in use hold only unmapped pages
    for (uint32_t number = 0; number < kRegions; ++number) {
      const Region* region = Find(id, number);
      if (((windows_[w].used[number / 64] & Bit(number)) != 0) != (region != nullptr)) return "used-region bitmap";
      if (!region) {
        boundaries += key != 0;
        key = 0;
        continue;
      }
      uint32_t in_region = 0;
      for (uint32_t i = 0; i < Region::kPages; ++i) {
        const PageRecord record = region->record[i];
        const bool is_mapped = record.Has(PageRecord::kMapped);
        if (is_mapped != ((region->mapped[i / 64] & Bit(i)) != 0)) return "mapped-page bitmap";
        if (record.Has(PageRecord::kGlobal) != ((region->global[i / 64] & Bit(i)) != 0)) return "global-page bitmap";
        in_region += is_mapped;
        const uint64_t now = HostKey(number * Region::kPages + i, record);
        boundaries += now != key;
        key = now;
      }
      if (in_region != region->mapped_pages) return "count of a region's mapped pages";
      in_window += in_region;
    }
    boundaries += key != 0;
    if (in_window != windows_[w].mapped_pages) return "count of a window's mapped pages";
    mapped += in_window;
  }
  if (boundaries != boundaries_) return "count of host mappings";
  for (uint32_t physical = 0; physical < heads_.size(); ++physical) {
    Alias previous = kNoAlias;
    for (Alias alias = heads_[physical]; alias != kNoAlias; alias = NextAlias(alias)) {
      const PageRecord record = Get(WindowOf(alias), PageOf(alias));
      if (!record.Has(PageRecord::kMapped) || record.PhysicalPage() != physical) return "reverse map entry";
      if (RegionOf(alias).previous[PageOf(alias) % Region::kPages] != previous) return "reverse map back link";
      if (++linked > mapped) return "reverse map chain that does not end";
      previous = alias;
    }
  }
  return linked == mapped ? nullptr : "page missing from the reverse map";
}

}  // namespace ring3
