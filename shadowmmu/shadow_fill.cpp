#include <algorithm>

#include "shadowmmu/shadow_mmu_impl.h"

namespace ring3 {
namespace {

ConsumedEntries EntriesOf(const Translation& t) {
  if (t.page_bytes == kPageSize) return {t.pde, false, t.pte};
  return {t.pte, true, 0};
}

}  // namespace

FillResult ShadowMmu::Impl::HandleFault(HostAddress address, bool write) {
  const std::optional<WindowId> window = space.Owner(address);
  if (!window) return {FillOutcome::kNotGuest};
  const uint64_t offset = address - space.Base(*window);
  if (offset >> 32) return {FillOutcome::kEmulate};
  const GuestLinear linear(static_cast<uint32_t>(offset));
  // The tables of another address space are not at hand; the instruction itself means the current one.
  if (!IsCurrent(*window)) return {FillOutcome::kEmulate, 0, linear};
  return Fill(*window, linear, {write ? AccessType::kWrite : AccessType::kRead, *window != kSupervisor});
}

FillResult ShadowMmu::Impl::PrepareFetch(WindowId window, GuestLinear address, bool user) {
  const uint32_t wanted = PageRecord::kMapped | PageRecord::kExecutable | (user ? PageRecord::kUser : 0);
  const PageRecord record = table.Get(window, address.PageNumber());
  if (record.Has(wanted)) return {FillOutcome::kMapped, 0, address, record.Physical() + address.PageOffset()};
  if (!IsCurrent(window)) return {FillOutcome::kEmulate, 0, address};
  return Fill(window, address, {AccessType::kFetch, user});
}

FillResult ShadowMmu::Impl::Fill(WindowId window, GuestLinear address, Access access) {
  const uint32_t page = address.PageNumber();
  const WalkResult walk = Walk(memory, paging, address, access);
  ComparePage(window, page);  // a fault, like a TLB miss, may see what the guest has not flushed yet
  if (!walk.ok) return {FillOutcome::kGuestFault, walk.error_code, address};
  const Translation& t = walk.translation;
  const GuestPhysical physical = t.page + address.PageOffset();
  const bool write = access.type == AccessType::kWrite;
  const PageKind kind = memory.KindOf(t.page);
  const FillResult emulate{FillOutcome::kEmulate, 0, address, physical};
  if (kind == PageKind::kMmio || (kind == PageKind::kRom && write)) return emulate;
  if (write && IsProtected(t.page)) return {FillOutcome::kCodeWrite, 0, address, physical};
  if (write && memory.IsTrapped(t.page)) memory.NoteWrite(t.page);

  EnsureBudget(window);
  const PageRecord record = table.Get(window, page);
  const bool upgrade = write && record.OnHost() && !record.Has(PageRecord::kHostWritable);
  if (record.OnHost() && !upgrade) DropPage(window, page);
  const bool program = window != kSupervisor && options.fast_paths.Has(FastPath::kUnmappedCode);
  if (access.type == AccessType::kFetch && program) {
    if (!RecordFetch(window, page, t)) return emulate;
    return {FillOutcome::kMapped, 0, address, physical};
  }
  if (!(upgrade ? MakeRunWritable(window, page) : MapRun(window, page, t))) return emulate;
  ++stats.fills;
  stats.dirty_upgrades += upgrade;
  return {FillOutcome::kMapped, 0, address, physical, !upgrade && (t.user || LatelyDropped(window, page))};
}

Region& ShadowMmu::Impl::RegionFor(WindowId window, uint32_t page, const ConsumedEntries& entries) {
  Region& region = table.Make(window, page / Region::kPages);
  region.pde = entries.pde;
  region.large = entries.large;
  return region;
}

/// Kernels map their code and data alike, in runs that one host mapping holds; a program's code is mostly apart.
bool ShadowMmu::Impl::RecordFetch(WindowId window, uint32_t page, const Translation& translation) {
  const ConsumedEntries entries = EntriesOf(translation);
  std::optional<PageRecord> record = Desired(window, page, entries);
  if (!record) return false;
  RegionFor(window, page, entries);
  record->bits = (record->bits & ~PageRecord::kHostWritable) | PageRecord::kFetchOnly;
  if (table.Get(window, page).Has(PageRecord::kMapped)) table.Remove(window, page);
  table.Insert(window, page, *record, entries.pte);
  ++stats.fetched_pages;
  return true;
}

/// What a page of `window` would be mapped as, given its entries; nothing when it may not be mapped without a walk.
std::optional<PageRecord> ShadowMmu::Impl::Desired(WindowId window, uint32_t page,
                                                   const ConsumedEntries& entries) const {
  if (std::find(unmapped.begin(), unmapped.end(), page) != unmapped.end()) return std::nullopt;
  const uint64_t linear = uint64_t{page} << kPageShift;
  uint64_t address = linear;
  uint64_t rights = entry::kWritable | entry::kUser;
  bool dirty = true, executable = true, global = false;
  if (PagingOn(paging)) {
    const uint64_t leaf = entries.large ? entries.pde : entries.pte;
    constexpr uint64_t kUsable = entry::kPresent | entry::kAccessed;
    if ((leaf & kUsable) != kUsable || HasReservedBits(paging, leaf, entries.large)) return std::nullopt;
    const uint64_t bytes = entries.large ? LargePageBytes(paging) : kPageSize;
    address = EntryAddress(paging, leaf, entries.large) + (linear & (bytes - 1));
    rights = entries.pde & leaf;
    dirty = leaf & entry::kDirty;
    executable = !NxOn(paging) || !((entries.pde | leaf) & entry::kNoExecute);
    global = leaf & entry::kGlobal;
  }
  const GuestPhysical physical = memory.Resolve(ApplyA20(paging, address));
  const PageKind kind = memory.KindOf(physical);
  const bool user = rights & entry::kUser;
  if (kind == PageKind::kMmio || (window != kSupervisor && !user)) return std::nullopt;
  const bool may_write = (rights & entry::kWritable) || (window == kSupervisor && !WriteProtectOn(paging));
  uint32_t flags = PageRecord::kMapped;
  const bool noticed = IsProtected(physical) || memory.IsTrapped(physical);
  if (may_write && dirty && kind == PageKind::kRam && !noticed) flags |= PageRecord::kHostWritable;
  if (global) flags |= PageRecord::kGlobal;
  if (user) flags |= PageRecord::kUser;
  if (executable) flags |= PageRecord::kExecutable;
  return PageRecord{static_cast<uint32_t>(physical.value) | flags};
}

/// Maps `page`, which the host does not map, and such neighbours that one host mapping can hold with it.
bool ShadowMmu::Impl::MapRun(WindowId window, uint32_t page, const Translation& translation) {
  ConsumedEntries entries = EntriesOf(translation);
  const std::optional<PageRecord> wanted = Desired(window, page, entries);
  if (!wanted) return false;
  const uint32_t number = page / Region::kPages, begin = number * Region::kPages, end = begin + Region::kPages;
  const Region& region = RegionFor(window, page, entries);
  std::optional<TableReader> ptes;
  if (!entries.large) ptes.emplace(memory, paging, TableOf(entries.pde, number));
  const uint64_t key = MappingTable::HostKey(page, *wanted);
  const auto read = [&](uint32_t p) {
    if (ptes) entries.pte = ptes->Entry(p - begin);
    return Desired(window, p, entries);
  };
  const auto fits = [&](uint32_t p) {
    const PageRecord now = region.record[p - begin];
    if (now.OnHost()) return false;
    const std::optional<PageRecord> desired = read(p);
    const bool seen = !now.Has(PageRecord::kMapped) || entries.large || entries.pte == region.pte[p - begin];
    return desired && seen && MappingTable::HostKey(p, *desired) == key;
  };
  uint32_t first = page, last = page + 1;
  while (first > begin && fits(first - 1)) --first;
  while (last < end && fits(last)) ++last;
  const auto map = [&] {
    const uint32_t physical_page = wanted->PhysicalPage() - (page - first);
    return space.Map(window, first, last - first, physical_page, wanted->Has(PageRecord::kHostWritable));
  };
  if (!map() && !(EvictOne(window, false) && map())) return false;
  // Tables in ROM don't say that this page was accessed, though the walk did; what it found counts.
  for (uint32_t p = first; p < last; ++p) {
    const PageRecord record = p == page ? *wanted : *read(p);
    if (p == page) entries.pte = EntriesOf(translation).pte;
    if (region.record[p - begin].Has(PageRecord::kMapped)) table.Remove(window, p);
    table.Insert(window, p, record, entries.pte);
  }
  stats.pages_mapped += last - first;
  return true;
}

/// Lets the guest write to `page`, whose D bit is set by now, and to neighbours that may be written to as well.
bool ShadowMmu::Impl::MakeRunWritable(WindowId window, uint32_t page) {
  const uint32_t number = page / Region::kPages, begin = number * Region::kPages, end = begin + Region::kPages;
  const Region& region = *table.Find(window, number);
  const uint64_t key = table.HostKey(window, page);
  const auto fits = [&](uint32_t p) {
    if (table.HostKey(window, p) != key) return false;
    const std::optional<PageRecord> desired = Desired(window, p, {region.pde, region.large, region.pte[p - begin]});
    return desired && desired->Has(PageRecord::kHostWritable);
  };
  if (!fits(page)) return false;
  uint32_t first = page, last = page + 1;
  while (first > begin && fits(first - 1)) --first;
  while (last < end && fits(last)) ++last;
  const auto protect = [&] { return space.Protect(window, first, last - first, true); };
  if (!protect() && !(EvictOne(window, false) && protect())) return false;
  for (uint32_t p = first; p < last; ++p) table.SetWritable(window, p, true);
  return true;
}

}  // namespace ring3
