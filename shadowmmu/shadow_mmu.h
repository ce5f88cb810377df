// The shadow MMU: guest page tables in, host mappings out. Host page tables are the shadow page tables; they are filled
// lazily when the guest faults on them and dropped when the guest's own tables are seen to have changed.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "shadowmmu/paging.h"
#include "translator/fast_paths.h"

namespace ring3 {

/// Identifies one window; small and dense, reused when a window is given to another address space.
using WindowId = uint8_t;

struct ShadowMmuOptions {
  unsigned user_windows = 12;   // LRU pool, one per recently loaded CR3
  uint32_t vma_budget = 60000;  // host mappings over all windows; whole windows are emptied before it is passed
  FastPaths fast_paths;
};

struct ShadowMmuStats {
  uint64_t fills = 0;           // faults answered by a mapping
  uint64_t fetched_pages = 0;   // recorded for the code in them alone
  uint64_t pages_mapped = 0;    // 4 KiB pages, fill-around included
  uint64_t dirty_upgrades = 0;  // read-only mapping made writable on the first write
  uint64_t pages_dropped = 0;   // because the guest's tables changed
  uint64_t cr3_loads = 0, window_hits = 0, window_evictions = 0;
  uint64_t budget_evictions = 0;  // windows emptied to stay below the VMA budget
  uint64_t protections = 0, unprotections = 0;
};

enum class FillOutcome : uint8_t {
  kMapped,      // restart the host instruction
  kGuestFault,  // deliver #PF with error_code and cr2
  kEmulate,     // MMIO, ROM write, or outside the window's 4 GiB: execute the guest instruction on the slow path
  kCodeWrite,   // a permitted store to a page that holds translated code
  kNotGuest,    // the host address lies in no window's reservation: a bug in the monitor
};

struct FillResult {
  FillOutcome outcome;
  uint32_t error_code = 0;   // kGuestFault
  GuestLinear linear;        // kMapped, kGuestFault, kCodeWrite; also kEmulate where inside the 4 GiB
  GuestPhysical physical;    // kMapped, kCodeWrite: the byte
  bool short_lived = false;  // kMapped: anew, and likely to be dropped soon
};

/// Told when a linear page of a window no longer means what it meant, so that links and tables built on it are dropped.
class MappingListener {
 public:
  virtual ~MappingListener() = default;
  /// [page, page + pages * 4 KiB) of `window` was unmapped or remapped.
  virtual void PagesDropped(WindowId window, GuestLinear page, uint32_t pages) = 0;
  /// All of `window` was emptied.
  virtual void WindowEmptied(WindowId window) = 0;
};

class ShadowMmu {
 public:
  /// Host address space reserved around each window: every address that a form without the 67h prefix can reach from
  /// it is ours and PROT_NONE. Window base W is 4 GiB-aligned; [W - kGuardBelow, W + kGuardAbove) is reserved.
  static constexpr uint64_t kGuardBelow = 4ull << 30;
  static constexpr uint64_t kGuardAbove = 60ull << 30;

  /// Throws UsageError where the address space cannot be reserved.
  ShadowMmu(PhysicalMemory& memory, ShadowMmuOptions options = {});
  ~ShadowMmu();

  void SetListener(MappingListener* listener);

  /// Adopts new paging state after MOV CR0/CR4/EFER, a task switch or reset: drops whatever changed meaning.
  void SetPaging(const PagingState& paging);
  /// MOV CR3 (also with the same value): compares snapshots, switches the user window. Global pages are not compared.
  void LoadCr3(const PagingState& paging);
  /// INVLPG: compares the entry that maps `address`, global or not, in every window of the current address space.
  void InvalidatePage(GuestLinear address);
  const PagingState& Paging() const;

  /// The window in which code of this privilege runs in the current address space. CPL 0-2 share the supervisor window.
  WindowId Current(bool user) const;
  HostAddress Base(WindowId window) const;
  /// Window whose reservation holds `address`, if any.
  std::optional<WindowId> Owner(HostAddress address) const;

  /// A fault at `address` by code running in the current window. Called in the SIGSEGV handler: host address of the
  /// access, whether it writes. Walks, sets A/D, maps as long a run as the guest's tables allow without a visible
  /// difference (only entries whose A, and for writable mappings D, are set already).
  FillResult HandleFault(HostAddress address, bool write);
  /// Makes `address` readable in `window` as a fetch at this privilege would: used before a translation is entered
  /// there, so that its page is tracked. kMapped (physical filled in), kGuestFault, or kEmulate for code not in RAM.
  FillResult PrepareFetch(WindowId window, GuestLinear address, bool user);

  /// Write-protects every mapping of a physical page that holds translated code, now and at later fills / lifts that.
  void ProtectPage(GuestPhysical page);
  void UnprotectPage(GuestPhysical page);

  /// From now on exactly these linear pages stay unmapped in every window, whatever the guest's tables say: accesses to
  /// them, and code in them, come to the monitor one by one (kEmulate).
  void SetUnmapped(std::span<const GuestLinear> pages);

  const ShadowMmuStats& Stats() const;
  /// Verifies every mapping against the snapshots, the reverse map and /proc/self/maps; aborts with a message on a
  /// difference. For tests and debug builds.
  void CheckInvariants() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ring3
