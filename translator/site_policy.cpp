#include "translator/site_policy.h"

#include <algorithm>

namespace ring3 {
namespace {

constexpr uint32_t kEmulationsBeforeDemotion = 4;
constexpr uint32_t kUserAccessesBeforeDemotion = 8;
constexpr uint32_t kFaultsBeforeDemotion = 4;
// A mapping costs some 25 times an execution on the slow path, and a multiple of that in soft accesses.
constexpr uint64_t kExecutionsPerSwitch = 24, kSoftAccessesPerMapping = 64, kExecutionsPerFault = 32;
// A wrong promotion costs mappings, a wrong demotion next to nothing: each promotion takes more than the one before.
constexpr unsigned kMostDoublings = 10;

}  // namespace

bool SitePolicy::NoteEmulation(GuestPhysical site) {
  if (++emulations_[site.value] < kEmulationsBeforeDemotion) return false;
  emulations_.erase(site.value);
  ++stats_.demotions;
  demoted_[site.value] = {.memory_generation = memory_generation_};
  return true;
}

bool SitePolicy::NoteUserAccess(GuestPhysical site) {
  uint32_t& accesses = user_accesses_[site.value];
  if (++accesses < kUserAccessesBeforeDemotion) return false;
  accesses = 0;
  return true;
}

void SitePolicy::DemoteForUserAccess(GuestPhysical site, bool revocable, uint64_t switches) {
  ++stats_.demotions;
  demoted_[site.value] = {
      .reason = Reason::kUserAccess, .revocable = revocable, .switches = switches, .promotions = PromotionsOf(site)};
}

unsigned SitePolicy::PromotionsOf(GuestPhysical site) const {
  const auto found = promotions_.find(site.value);
  return found == promotions_.end() ? 0 : std::min(found->second, kMostDoublings);
}

bool SitePolicy::NoteFault(GuestPhysical site) {
  if (++faults_[site.value] < kFaultsBeforeDemotion << PromotionsOf(site)) return false;
  faults_.erase(site.value);
  ++stats_.demotions;
  demoted_[site.value] = {.reason = Reason::kFault, .revocable = true, .promotions = PromotionsOf(site)};
  return true;
}

void SitePolicy::NoteDemotedFault(GuestPhysical site) {
  const auto found = demoted_.find(site.value);
  if (found == demoted_.end() || found->second.reason != Reason::kFault) return;
  ++found->second.misses;
  if (found->second.soft) budgets_[*found->second.soft].Earn(SoftBudget::kFault);
}

/// So many soft accesses are worth the mappings that were not made: one for each time that the monitor's TLB had to be
/// filled, and since others may have filled it, one for each address-space switch.
uint64_t SitePolicy::SoftLimit(const Demoted& demoted, uint64_t switches) {
  if (!demoted.revocable) return ~uint64_t{0};
  const uint64_t mappings = demoted.misses + (switches - demoted.switches) + 1;
  return (kSoftAccessesPerMapping << demoted.promotions) * mappings;
}

bool SitePolicy::RunsTooOften(Demoted& demoted, uint64_t switches) {
  if (demoted.soft) {
    SoftSite& soft = soft_[*demoted.soft];
    if (soft.budgeted) return budgets_[*demoted.soft].value <= 0;
    if (soft.accesses <= soft.limit) ++demoted.misses;
    soft.limit = SoftLimit(demoted, switches);
    return soft.accesses > soft.limit;
  }
  const bool faults = demoted.reason == Reason::kFault;
  const uint64_t spared = faults ? demoted.misses : switches - demoted.switches;
  const uint64_t worth = faults ? kExecutionsPerFault : kExecutionsPerSwitch;
  return ++demoted.executions >= (worth << demoted.promotions) * (spared + 1);
}

bool SitePolicy::NoteExecution(GuestPhysical site, uint64_t switches) {
  const auto found = demoted_.find(site.value);
  if (found == demoted_.end()) return false;
  Demoted& demoted = found->second;
  const bool emulation = demoted.reason == Reason::kEmulation;
  if (emulation && demoted.memory_generation != memory_generation_) {
    demoted_.erase(found);
    ++stats_.promotions;
    return true;
  }
  if (!demoted.revocable || !RunsTooOften(demoted, switches)) return false;
  demoted_.erase(found);
  ++stats_.promotions;
  ++promotions_[site.value];
  return true;
}

std::optional<uint16_t> SitePolicy::SoftSiteFor(GuestPhysical site, const SoftMove& move, uint64_t switches) {
  const auto found = demoted_.find(site.value);
  if (found == demoted_.end() || found->second.reason == Reason::kEmulation) return std::nullopt;
  const std::pair key{site.value, move};
  if (soft_numbers_.size() == kMostSoftSites && !soft_numbers_.contains(key)) return std::nullopt;
  const uint16_t number = soft_numbers_.try_emplace(key, static_cast<uint16_t>(soft_numbers_.size())).first->second;
  Demoted& demoted = found->second;
  if (demoted.soft != number) {
    const bool budgeted = demoted.reason == Reason::kFault;
    soft_[number] = {.move = move, .limit = SoftLimit(demoted, switches), .budgeted = budgeted};
    budgets_[number].value = budgeted ? SoftBudget::kMost : INT32_MAX;
  }
  demoted.soft = number;
  return number;
}

}  // namespace ring3
