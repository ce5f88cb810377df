#include "shadowmmu/shadow_mmu.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "monitor/cpu/fault.h"
#include "shadowmmu/shadow_mmu_impl.h"

namespace ring3 {
namespace {

/// WindowId has to hold them all, and the supervisor window is one more.
constexpr unsigned kMostUserWindows = 254;

/// Bits whose change gives every cached translation another meaning.
struct StructureBits {
  uint32_t cr0, cr4;
  uint64_t efer;
  bool a20;
  bool operator==(const StructureBits&) const = default;
};

StructureBits Structure(const PagingState& paging) {
  return {paging.cr0 & cr0::kPg, paging.cr4 & (cr4::kPse | cr4::kPae), paging.efer & efer::kNxe, paging.a20_enabled};
}

bool SameRules(const PagingState& a, const PagingState& b) {
  return Structure(a) == Structure(b) && WriteProtectOn(a) == WriteProtectOn(b) && !((a.cr4 ^ b.cr4) & cr4::kPge);
}

uint64_t AddressSpaceKey(const PagingState& paging) {
  constexpr uint64_t kPdptAlignment = 32;
  if (!PagingOn(paging)) return kIdentityKey;
  return paging.cr3 & (PaeOn(paging) ? ~(kPdptAlignment - 1) : entry::kAddress);
}

/// The host's own limit may be lower than the option; the rest of the process needs a part of it too.
uint32_t UsableBudget(uint32_t wanted) {
  std::ifstream file("/proc/sys/vm/max_map_count");
  uint64_t limit = 0;
  if (!(file >> limit)) return wanted;
  return static_cast<uint32_t>(std::min<uint64_t>(wanted, limit - limit / 12));
}

ShadowMmuOptions Checked(ShadowMmuOptions options) {
  if (options.user_windows < 1 || options.user_windows > kMostUserWindows) {
    throw UsageError("the number of user windows must be 1 to " + std::to_string(kMostUserWindows));
  }
  options.vma_budget = UsableBudget(options.vma_budget);
  return options;
}

}  // namespace

ShadowMmu::Impl::Impl(PhysicalMemory& physical, ShadowMmuOptions wanted)
    : memory(physical),
      options(Checked(wanted)),
      space(options.user_windows + 1, physical.MemoryFd()),
      table(options.user_windows + 1, physical.Extent()),
      keys(options.user_windows + 1, kNoKey),
      last_used(options.user_windows + 1, 0),
      protected_pages(physical.Extent() >> kPageShift, false) {
  keys[current_user] = AddressSpaceKey(paging);
  memory.AddKindListener(this);
}

ShadowMmu::Impl::~Impl() { memory.RemoveKindListener(this); }

void ShadowMmu::Impl::SetPaging(const PagingState& next) {
  const PagingState old = paging;
  if (SameRules(old, next)) {
    if (old.cr3 != next.cr3 || old.pdpte != next.pdpte) return LoadCr3(next);
    paging = next;
    return;
  }
  paging = next;
  if (Structure(old) != Structure(next)) {
    for (unsigned window = 0; window < Windows(); ++window) Empty(static_cast<WindowId>(window));
    std::fill(keys.begin(), keys.end(), kNoKey);
  } else {
    // CR0.WP matters to supervisor accesses alone. CR4.PGE changes no rights: it flushes, global pages included.
    if (WriteProtectOn(old) != WriteProtectOn(next)) Empty(kSupervisor);
    Compare(kSupervisor, true);
  }
  SelectUserWindow();
}

void ShadowMmu::Impl::LoadCr3(const PagingState& next) {
  if (!SameRules(paging, next)) return SetPaging(next);
  paging = next;
  ++stats.cr3_loads;
  if (!PagingOn(paging)) return;
  Compare(kSupervisor, !(paging.cr4 & cr4::kPge));
  SelectUserWindow();
}

/// Finds or makes the user window of the current address space. Its global pages are compared too: INVLPG reached only
/// the windows that were current then.
void ShadowMmu::Impl::SelectUserWindow() {
  const uint64_t key = AddressSpaceKey(paging);
  auto chosen = std::find(keys.begin() + kFirstUser, keys.end(), key);
  if (chosen != keys.end()) {
    current_user = static_cast<WindowId>(chosen - keys.begin());
    ++stats.window_hits;
    Compare(current_user, true);
  } else {
    const auto oldest = std::min_element(last_used.begin() + kFirstUser, last_used.end());
    current_user = static_cast<WindowId>(oldest - last_used.begin());
    if (keys[current_user] != kNoKey) ++stats.window_evictions;
    Empty(current_user);
    keys[current_user] = key;
  }
  last_used[current_user] = ++clock;
}

void ShadowMmu::Impl::Empty(WindowId window) {
  if (table.Empty(window)) return;
  table.ForEachRegion(window, [&](uint32_t number, Region& region) {
    for (uint32_t i = 0; i < Region::kPages; ++i) {
      if (region.record[i].Has(PageRecord::kMapped)) table.Remove(window, number * Region::kPages + i);
    }
    table.Release(window, number);
  });
  if (!space.Unmap(window, 0, kWindowPages)) {
    // A whole window becomes one mapping, which needs no room; going on would leave the guest stale mappings.
    std::perror("ring3: cannot unmap a window");
    std::abort();
  }
  if (listener) listener->WindowEmptied(window);
}

/// Empties the window that is likely to be missed least; false when there is none left to empty.
bool ShadowMmu::Impl::EvictOne(WindowId needed, bool even_needed) {
  std::optional<WindowId> victim;
  for (unsigned w = kFirstUser; w < Windows(); ++w) {
    const auto id = static_cast<WindowId>(w);
    if (IsCurrent(id) || table.Empty(id)) continue;
    if (!victim || last_used[id] < last_used[*victim]) victim = id;
  }
  for (const WindowId id : {current_user, kSupervisor}) {
    if (!victim && id != needed && !table.Empty(id)) victim = id;
  }
  if (!victim && even_needed && !table.Empty(needed)) victim = needed;
  if (!victim) return false;
  ++stats.budget_evictions;
  Empty(*victim);
  return true;
}

void ShadowMmu::Impl::EnsureBudget(WindowId needed) {
  while (table.HostMappings() + kMappingsPerCall > options.vma_budget) {
    if (!EvictOne(needed, true)) return;
  }
}

void ShadowMmu::Impl::ProtectPage(GuestPhysical page) {
  if (page.value >= memory.Extent() || IsProtected(page)) return;
  protected_pages[page.PageNumber()] = true;
  ++stats.protections;
  const auto number = static_cast<uint32_t>(page.PageNumber());
  for (auto alias = table.FirstAlias(number); alias != MappingTable::kNoAlias;) {
    const WindowId window = MappingTable::WindowOf(alias);
    const uint32_t linear_page = MappingTable::PageOf(alias);
    if (!table.Get(window, linear_page).Has(PageRecord::kHostWritable)) {
      alias = table.NextAlias(alias);
    } else if (table.HostMappings() + kMappingsPerCall <= options.vma_budget &&
               space.Protect(window, linear_page, 1, false)) {
      table.SetWritable(window, linear_page, false);
      alias = table.NextAlias(alias);
    } else {
      // Evicting changes the chain. It ends, at the latest when nothing is mapped that could be written to.
      EvictOne(window, true);
      alias = table.FirstAlias(number);
    }
  }
}

void ShadowMmu::Impl::SetUnmapped(std::span<const GuestLinear> pages) {
  unmapped.clear();
  for (const GuestLinear page : pages) {
    unmapped.push_back(page.PageNumber());
    for (unsigned window = 0; window < Windows(); ++window) {
      const auto id = static_cast<WindowId>(window);
      if (table.Get(id, page.PageNumber()).Has(PageRecord::kMapped)) DropPage(id, page.PageNumber());
    }
  }
}

void ShadowMmu::Impl::KindChanged(GuestPhysical first, uint64_t bytes) {
  const uint64_t end = first.PageNumber() + (bytes >> kPageShift);
  for (uint64_t page = first.PageNumber(); page < end; ++page) {
    const auto number = static_cast<uint32_t>(page);
    for (auto alias = table.FirstAlias(number); alias != MappingTable::kNoAlias; alias = table.FirstAlias(number)) {
      DropPage(MappingTable::WindowOf(alias), MappingTable::PageOf(alias));
    }
  }
}

ShadowMmu::ShadowMmu(PhysicalMemory& memory, ShadowMmuOptions options)
    : impl_(std::make_unique<Impl>(memory, options)) {}
ShadowMmu::~ShadowMmu() = default;

void ShadowMmu::SetListener(MappingListener* listener) { impl_->listener = listener; }
void ShadowMmu::SetPaging(const PagingState& paging) { impl_->SetPaging(paging); }
void ShadowMmu::LoadCr3(const PagingState& paging) { impl_->LoadCr3(paging); }
const PagingState& ShadowMmu::Paging() const { return impl_->paging; }
WindowId ShadowMmu::Current(bool user) const { return user ? impl_->current_user : Impl::kSupervisor; }
HostAddress ShadowMmu::Base(WindowId window) const { return impl_->space.Base(window); }
std::optional<WindowId> ShadowMmu::Owner(HostAddress address) const { return impl_->space.Owner(address); }
const ShadowMmuStats& ShadowMmu::Stats() const { return impl_->stats; }
void ShadowMmu::CheckInvariants() const { impl_->CheckInvariants(); }

void ShadowMmu::SetUnmapped(std::span<const GuestLinear> pages) { impl_->SetUnmapped(pages); }

void ShadowMmu::InvalidatePage(GuestLinear address) {
  impl_->ComparePage(Impl::kSupervisor, address.PageNumber());
  impl_->ComparePage(impl_->current_user, address.PageNumber());
}

FillResult ShadowMmu::HandleFault(HostAddress address, bool write) { return impl_->HandleFault(address, write); }

FillResult ShadowMmu::PrepareFetch(WindowId window, GuestLinear address, bool user) {
  return impl_->PrepareFetch(window, address, user);
}

void ShadowMmu::ProtectPage(GuestPhysical page) { impl_->ProtectPage(page); }

void ShadowMmu::UnprotectPage(GuestPhysical page) {
  if (page.value >= impl_->memory.Extent() || !impl_->IsProtected(page)) return;
  impl_->protected_pages[page.PageNumber()] = false;  // the next write fault makes a mapping writable again
  ++impl_->stats.unprotections;
}

}  // namespace ring3
