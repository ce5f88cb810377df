// Connects callouts (translator/callouts.h) with the machine.
#pragma once

#include "monitor/callout_context.h"

namespace ring3 {

/// Sets up vcpu.run for callouts, whose context outlives the vCPU's runs.
void InstallCallouts(Vcpu& vcpu, CalloutContext& context);

/// To be called whenever paging may have changed.
inline void NoteWindows(CalloutContext& context) {
  for (const bool user : {false, true}) {
    const WindowId id = context.mmu.Current(user);
    context.windows[user] = {context.mmu.Base(id).value, id};
  }
}

/// CPUID has just been executed for this leaf and subleaf.
void NoteCpuid(CalloutContext& context, const CpuState& after, uint32_t leaf, uint32_t subleaf);

}  // namespace ring3
