// Write-protection of pages whose next write is to be noticed. The fault that follows opens them again.
#include "shadowmmu/shadow_mmu_impl.h"

namespace ring3 {

void ShadowMmu::Impl::WritesTrapped(std::span<const uint32_t> pages) {
  for (const uint32_t page : pages) {
    for (auto alias = table.FirstAlias(page); alias != MappingTable::kNoAlias;) {
      const WindowId window = MappingTable::WindowOf(alias);
      const uint32_t linear_page = MappingTable::PageOf(alias);
      if (!table.Get(window, linear_page).Has(PageRecord::kHostWritable) || ProtectTrapped(window, linear_page, page)) {
        alias = table.NextAlias(alias);
      } else {
        EvictOne(window, true);  // changes the chain, and ends when nothing is mapped any more
        alias = table.FirstAlias(page);
      }
    }
  }
}

/// With the pages that follow in both spaces and are trapped too: one system call for a stretch.
bool ShadowMmu::Impl::ProtectTrapped(WindowId window, uint32_t linear_page, uint32_t physical_page) {
  const auto follows = [&](uint32_t count) {
    if (linear_page + count >= kWindowPages) return false;
    const PageRecord record = table.Get(window, linear_page + count);
    const GuestPhysical physical(uint64_t{physical_page + count} << kPageShift);
    return record.Has(PageRecord::kMapped | PageRecord::kHostWritable) && record.Physical() == physical &&
           memory.IsTrapped(physical);
  };
  uint32_t count = 1;
  while (follows(count)) ++count;
  if (table.HostMappings() + kMappingsPerCall > options.vma_budget) return false;
  if (!space.Protect(window, linear_page, count, false)) return false;
  for (uint32_t i = 0; i < count; ++i) table.SetWritable(window, linear_page + i, false);
  return true;
}

}  // namespace ring3
