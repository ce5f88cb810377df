#include "translator/site_policy.h"

namespace ring3 {
namespace {

constexpr uint32_t kEmulationsBeforeDemotion = 4;
constexpr uint32_t kUserAccessesBeforeDemotion = 8;
// A mapping costs some 25 times an execution on the slow path.
constexpr uint64_t kExecutionsPerSwitch = 24;

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
  return !promoted_.contains(site.value);
}

void SitePolicy::DemoteForUserAccess(GuestPhysical site, bool revocable, uint64_t switches) {
  demoted_[site.value] = {.revocable = revocable, .switches = switches};
}

bool SitePolicy::NoteExecution(GuestPhysical site, uint64_t switches) {
  const auto found = demoted_.find(site.value);
  if (found == demoted_.end() || !found->second.revocable) return false;
  Demoted& demoted = found->second;
  if (++demoted.executions < kExecutionsPerSwitch * (switches - demoted.switches + 1)) return false;
  demoted_.erase(found);
  promoted_.insert(site.value);
  return true;
}

}  // namespace ring3
