#include "monitor/statistics.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "monitor/exit_trace.h"

namespace ring3 {
namespace {

using nlohmann::ordered_json;

ordered_json Classes(const ClassCounts& counts) {
  ordered_json out;
  uint64_t total = 0;
  for (uint64_t n : counts) total += n;
  for (unsigned i = 0; i < counts.size(); ++i)
    out[std::string(NameOf(static_cast<InstructionClass>(i)).name)] = counts[i];
  out["total"] = total;
  const uint64_t identical = counts[static_cast<unsigned>(InstructionClass::kIdentical)];
  out["identical_share"] = total ? static_cast<double>(identical) / static_cast<double>(total) : 0.0;
  return out;
}

ordered_json Faults(const EngineStats& engine) {
  ordered_json out = ordered_json::object();
  for (unsigned vector = 0; vector < engine.faults_by_vector.size(); ++vector) {
    if (engine.faults_by_vector[vector]) out[std::to_string(vector)] = engine.faults_by_vector[vector];
  }
  return out;
}

/// Most frequent first.
ordered_json Mnemonics(const EngineStats& engine) {
  std::vector<std::pair<uint64_t, int>> counts;
  for (unsigned i = 0; i < engine.interpreted_by_mnemonic.size(); ++i) {
    if (engine.interpreted_by_mnemonic[i]) counts.emplace_back(engine.interpreted_by_mnemonic[i], i);
  }
  std::sort(counts.rbegin(), counts.rend());
  ordered_json out = ordered_json::object();
  for (auto [count, mnemonic] : counts) out[ZydisMnemonicGetString(static_cast<ZydisMnemonic>(mnemonic))] = count;
  return out;
}

ordered_json Callouts(const std::array<uint64_t, CalloutContext::kCallouts>& counts) {
  constexpr const char* kNames[] = {
      "int",         "iretd", "sysenter", "sysexit",         "cpuid",           "clts",     "load-segment",
      "soft-access", "in",    "out",      "move-to-control", "invalidate-page", "interpret"};
  static_assert(std::size(kNames) == CalloutContext::kCallouts);
  ordered_json out;
  for (unsigned i = 0; i < counts.size(); ++i) out[kNames[i]] = counts[i];
  return out;
}

ordered_json Exits(const EngineStats& engine) {
  ordered_json out;
  for (unsigned i = 0; i < engine.exits.size(); ++i) out[NameOf(static_cast<ExitReason>(i))] = engine.exits[i];
  return out;
}

}  // namespace

void WriteStatistics(FILE* out, const RunStatistics& run) {
  const TranslatorStats& t = run.translator;
  const ShadowMmuStats& m = run.mmu;
  ordered_json json = {
      {"seconds", run.seconds},
      {"instructions_executed", Classes(t.executed)},
      {"instructions_translated", Classes(t.translated)},
      {"instructions_interpreted", run.engine.interpreted},
      {"interpreted_by_mnemonic", Mnemonics(run.engine)},
      {"interpreted_in_untranslated_modes", run.engine.untranslatable_steps},
      {"translation",
       {{"blocks", t.blocks},
        {"live_blocks", run.live_blocks},
        {"guest_bytes", t.guest_bytes},
        {"host_bytes", t.host_bytes},
        {"links", t.links},
        {"branch_table_inserts", t.branch_table_inserts},
        {"return_mismatches", t.return_mismatches},
        {"cache_evictions", run.cache_evictions}}},
      {"invalidation",
       {{"code_page_writes", t.invalidation.code_page_writes},
        {"blocks", t.invalidation.blocks},
        {"data_beside_code_writes", t.invalidation.harmless_writes},
        {"stale_self_checking_blocks", t.invalidation.stale_blocks}}},
      {"sites", {{"demotions", t.sites.demotions}, {"promotions", t.sites.promotions}}},
      {"exits", Exits(run.engine)},
      {"callouts", Callouts(run.callouts.done)},
      {"callouts_declined", Callouts(run.callouts.declined)},
      {"faults_delivered", Faults(run.engine)},
      {"interrupts_delivered", run.engine.interrupts_delivered},
      {"signals",
       {{"faults", run.signals.faults},
        {"kicks_in_translated_code", run.signals.kicks_in_translated_code},
        {"kicks_stepped", run.signals.stepped_kicks}}},
      {"shadow",
       {{"fills", m.fills},
        {"pages_mapped", m.pages_mapped},
        {"fetched_pages", m.fetched_pages},
        {"dirty_upgrades", m.dirty_upgrades},
        {"pages_dropped", m.pages_dropped},
        {"cr3_loads", m.cr3_loads},
        {"window_hits", m.window_hits},
        {"window_evictions", m.window_evictions},
        {"budget_evictions", m.budget_evictions},
        {"page_protections", m.protections},
        {"page_unprotections", m.unprotections}}},
  };
  const std::string text = json.dump(2) + "\n";
  std::fwrite(text.data(), 1, text.size(), out);
}

}  // namespace ring3
