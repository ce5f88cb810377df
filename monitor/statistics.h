// Counters of a run as JSON (--stats).
#pragma once

#include <cstdio>

#include "monitor/bt_engine.h"
#include "monitor/host_signals.h"
#include "translator/translator.h"

namespace ring3 {

struct RunStatistics {
  double seconds;
  TranslatorStats translator;
  EngineStats engine;
  SignalStats signals;
  const CalloutContext& callouts;
  ShadowMmuStats mmu;
  uint64_t cache_evictions;
  uint32_t live_blocks;
};

void WriteStatistics(FILE* out, const RunStatistics& run);

}  // namespace ring3
