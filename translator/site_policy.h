// Adaptive translation: instructions whose accesses keep faulting are demoted, that is left to the monitor, which
// accesses guest memory through its own TLB and reaches devices without a signal.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <unordered_set>

#include "shadowmmu/address.h"

namespace ring3 {

/// Sites are instructions, named by the guest-physical address of their first byte. Times are counted in address-space
/// switches, because these are what takes a kernel's mappings of user pages away.
class SitePolicy {
 public:
  bool IsDemoted(GuestPhysical site) const { return demoted_.contains(site.value); }
  /// An access at `site` had to be emulated (MMIO). True when that has happened so often that it was demoted, for good.
  bool NoteEmulation(GuestPhysical site);

  /// A ring 0 access at `site` had a user page mapped. True when that has happened so often that it should be demoted.
  bool NoteUserAccess(GuestPhysical site);
  /// `revocable` for instructions that make one access each: they may run so often that mappings serve them better.
  void DemoteForUserAccess(GuestPhysical site, bool revocable, uint64_t switches);
  /// A demoted site was executed. True when it runs so often between switches that it was promoted again, for good.
  bool NoteExecution(GuestPhysical site, uint64_t switches);

 private:
  struct Demoted {
    bool revocable = false;
    uint64_t executions = 0, switches = 0;  // the latter at demotion
  };

  std::unordered_map<uint64_t, Demoted> demoted_;
  std::unordered_set<uint64_t> promoted_;
  std::unordered_map<uint64_t, uint32_t> user_accesses_, emulations_;
};

}  // namespace ring3
