// A small guest memory with a shadow MMU over it, for tests of the latter.
#pragma once

#include <cstdint>
#include <ostream>
#include <utility>
#include <vector>

#include "shadowmmu/shadow_mmu.h"
#include "tests/shadowmmu/guest_tables.h"
#include "tests/shadowmmu/host_view.h"

namespace ring3 {

/// What a MappingListener was told; `pages` 0 stands for a window emptied whole.
struct Notice {
  WindowId window = 0;
  uint32_t page = 0, pages = 0;
  bool operator==(const Notice&) const = default;
};
inline std::ostream& operator<<(std::ostream& out, const Notice& notice) {
  return out << "window " << +notice.window << std::hex << " page " << notice.page << std::dec << " x" << notice.pages;
}
using Notices = std::vector<Notice>;
using Pages = std::vector<HostPage>;

struct Machine : MappingListener {
  explicit Machine(bool pae = false, ShadowMmuOptions options = {}, uint64_t rom_bytes = 0, uint64_t backed_bytes = 0)
      : memory(16u << 20, rom_bytes, backed_bytes),
        tables(memory, 0x100000, pae),
        mmu(memory, options),
        cr3(tables.NewSpace()) {
    mmu.SetListener(this);
    paging = tables.State(cr3);
    mmu.SetPaging(paging);
  }

  void PagesDropped(WindowId window, GuestLinear page, uint32_t pages) override {
    notices.push_back({window, page.value, pages});
  }
  void WindowEmptied(WindowId window) override { notices.push_back({window, 0, 0}); }

  /// Notices since the last call.
  Notices Taken() { return std::exchange(notices, {}); }

  HostAddress At(uint32_t linear, bool user) const { return mmu.Base(mmu.Current(user)) + linear; }
  FillResult Read(uint32_t linear, bool user = false) { return mmu.HandleFault(At(linear, user), false); }
  FillResult Write(uint32_t linear, bool user = false) { return mmu.HandleFault(At(linear, user), true); }
  FillResult Fetch(uint32_t linear, bool user = false) {
    return mmu.PrepareFetch(mmu.Current(user), GuestLinear(linear), user);
  }
  void Load(uint32_t new_cr3) {
    paging.cr3 = new_cr3;
    paging.pdpte = tables.State(new_cr3).pdpte;
    mmu.LoadCr3(paging);
  }
  void Invalidate(uint32_t linear) { mmu.InvalidatePage(GuestLinear(linear)); }

  /// The host's mappings of the current window, after a check of all the MMU's records.
  Pages Mapped(bool user = false) const {
    mmu.CheckInvariants();
    return HostPages(mmu, mmu.Current(user));
  }

  PhysicalMemory memory;
  GuestTables tables;
  ShadowMmu mmu;
  uint32_t cr3;
  PagingState paging;
  Notices notices;
};

}  // namespace ring3
