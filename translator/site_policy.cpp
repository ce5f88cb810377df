#include "translator/site_policy.h"

#include <algorithm>

namespace ring3 {
namespace {

constexpr uint32_t kEmulationsBeforeDemotion = 4;
constexpr uint32_t kUserAccessesBeforeDemotion = 8;
// A mapping costs some 25 times an execution on the slow path, and a multiple of that in soft accesses.
constexpr uint64_t kExecutionsPerSwitch = 24, kSoftAccessesPerMapping = 64;
// A wrong promotion costs mappings, a wrong demotion next to nothing: each promotion takes more than the one before.
constexpr unsigned kMostDoublings = 10;

}  // namespace

bool SitePolicy::NoteEmulation(GuestPhysical site) {
  if (++emulations_[site.value] < kEmulationsBeforeDemotion) return false;
  emulations_.erase(site.value);
  demoted_[site.value] = {};
  return true;
}

bool SitePolicy::NoteUserAccess(GuestPhysical site) {
  uint32_t& accesses = user_accesses_[site.value];
  if (++accesses < kUserAccessesBeforeDemotion) return false;
  accesses = 0;
  return true;
}

void SitePolicy::DemoteForUserAccess(GuestPhysical site, bool revocable, uint64_t switches) {
  const auto promoted = promotions_.find(site.value);
  const unsigned promotions = promoted == promotions_.end() ? 0 : promoted->second;
  demoted_[site.value] = {
      .user_access = true, .revocable = revocable, .switches = switches, .promotions = promotions};
}

/// So many soft accesses are worth the mappings that were not made: one for each time that the monitor's TLB had to be
/// filled, and since others may have filled it, one for each address-space switch.
uint64_t SitePolicy::SoftLimit(const Demoted& demoted, uint64_t switches) {
  if (!demoted.revocable) return ~uint64_t{0};
  const uint64_t mappings = demoted.misses + (switches - demoted.switches) + 1;
  return (kSoftAccessesPerMapping << std::min(demoted.promotions, kMostDoublings)) * mappings;
}

bool SitePolicy::NoteExecution(GuestPhysical site, uint64_t switches) {
  const auto found = demoted_.find(site.value);
  if (found == demoted_.end() || !found->second.revocable) return false;
  Demoted& demoted = found->second;
  if (demoted.soft) {
    SoftSite& soft = soft_[*demoted.soft];
    if (soft.accesses <= soft.limit) ++demoted.misses;
    soft.limit = SoftLimit(demoted, switches);
    if (soft.accesses <= soft.limit) return false;
  } else {
    const uint64_t per_switch = kExecutionsPerSwitch << std::min(demoted.promotions, kMostDoublings);
    if (++demoted.executions < per_switch * (switches - demoted.switches + 1)) return false;
  }
  demoted_.erase(found);
  ++promotions_[site.value];
  return true;
}

std::optional<uint16_t> SitePolicy::SoftSiteFor(GuestPhysical site, const SoftMove& move, uint64_t switches) {
  const auto found = demoted_.find(site.value);
  if (found == demoted_.end() || !found->second.user_access) return std::nullopt;
  if (soft_numbers_.size() == kMostSoftSites && !soft_numbers_.contains(site.value)) return std::nullopt;
  const uint16_t number =
      soft_numbers_.try_emplace(site.value, static_cast<uint16_t>(soft_numbers_.size())).first->second;
  Demoted& demoted = found->second;
  if (!demoted.soft) soft_[number] = {.limit = SoftLimit(demoted, switches)};
  demoted.soft = number;
  soft_[number].move = move;
  return number;
}

}  // namespace ring3
