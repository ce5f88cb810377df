// Adaptive translation: instructions whose accesses keep faulting are demoted, that is left to the monitor, which
// accesses guest memory through its own TLB and reaches devices without a signal.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>

#include "shadowmmu/address.h"
#include "translator/callouts.h"
#include "translator/soft_site.h"

namespace ring3 {

struct SiteStats {
  uint64_t demotions = 0, promotions = 0;  // sites that were left to the monitor, and those that were taken back
};

/// Sites are instructions, named by the guest-physical address of their first byte. Times are counted in address-space
/// switches, because these are what takes a kernel's mappings of user pages away.
class SitePolicy {
 public:
  const SiteStats& Stats() const { return stats_; }
  bool IsDemoted(GuestPhysical site) const { return demoted_.contains(site.value); }
  /// An access at `site` had to be emulated (MMIO). True when that has happened so often that it was demoted, for good.
  bool NoteEmulation(GuestPhysical site);
  /// Where devices were there may be memory now: sites demoted for emulation so far get another chance when they run.
  void MemoryAppeared() { ++memory_generation_; }

  /// A ring 0 access at `site` had a page mapped that will not stay. True when that has happened so often that it
  /// should be demoted.
  bool NoteUserAccess(GuestPhysical site);
  /// `revocable` for instructions that make one access each: they may run so often that mappings serve them better.
  void DemoteForUserAccess(GuestPhysical site, bool revocable, uint64_t switches);
  /// The instruction at `site` raised an exception that the host reported by a signal. True when that has happened so
  /// often that it was demoted.
  bool NoteFault(GuestPhysical site);
  /// Whatever happened there.
  void Demote(GuestPhysical site) {
    demoted_.try_emplace(site.value, Demoted{.reason = Reason::kFault, .revocable = true});
  }
  /// It did so while demoted.
  void NoteDemotedFault(GuestPhysical site);
  /// A demoted site was executed by the interpreter. True when it was promoted again: it runs too often, or
  /// may have memory now.
  bool NoteExecution(GuestPhysical site, uint64_t switches);

  /// The number of the SoftSite of a demoted site, which is to do `move` from now on; nothing for sites that reach
  /// devices, and when there are too many.
  std::optional<uint16_t> SoftSiteFor(GuestPhysical site, const SoftMove& move, uint64_t switches);
  /// By number.
  SoftSite* SoftSites() { return soft_.get(); }
  SoftBudget* SoftBudgets() { return budgets_.get(); }
  SoftNews& News() { return news_; }

 private:
  static constexpr unsigned kMostSoftSites = SoftAccessOperand::kMostSites;

  enum class Reason : uint8_t { kEmulation, kUserAccess, kFault };

  struct Demoted {
    Reason reason = Reason::kEmulation;
    bool revocable = false;
    uint32_t memory_generation = 0;         // at demotion for emulation
    uint64_t executions = 0, switches = 0;  // the latter at demotion
    uint64_t misses = 0;                    // soft accesses to what the monitor's TLB did not have, or faults
    unsigned promotions = 0;                // so far
    std::optional<uint16_t> soft;
  };

  static uint64_t SoftLimit(const Demoted& demoted, uint64_t switches);
  bool RunsTooOften(Demoted& demoted, uint64_t switches);
  unsigned PromotionsOf(GuestPhysical site) const;

  std::unordered_map<uint64_t, Demoted> demoted_;
  std::unordered_map<uint64_t, unsigned> promotions_;  // how often a site was demoted in vain
  // A number stands for one move for good: blocks of the same site may have been made from other bytes, in another
  // mode.
  std::map<std::pair<uint64_t, SoftMove>, uint16_t> soft_numbers_;
  std::unique_ptr<SoftSite[]> soft_ = std::make_unique<SoftSite[]>(kMostSoftSites);
  std::unique_ptr<SoftBudget[]> budgets_ = std::make_unique<SoftBudget[]>(kMostSoftSites);
  SoftNews news_;
  SiteStats stats_;
  uint32_t memory_generation_ = 0;
  std::unordered_map<uint64_t, uint32_t> user_accesses_, emulations_, faults_;
};

}  // namespace ring3
