#include "monitor/translating_engine.h"

#include <fmt/core.h>

#include <system_error>

#include "monitor/cpu/fault.h"
#include "monitor/crash_report.h"
#include "monitor/numbers.h"
#include "monitor/report_file.h"
#include "monitor/statistics.h"

namespace ring3 {
namespace {

/// Two machines in lockstep must read the same time stamps, so the monitor hands them out; and whoever records wants to
/// know of all that the monitor does.
FastPaths PathsFor(const Options& options) {
  if (options.lockstep.empty()) return options.fast_paths;
  FastPaths paths = options.fast_paths;
  for (FastPath path : {FastPath::kInlineTimeStamp, FastPath::kEventCallouts, FastPath::kSegmentCallouts,
                        FastPath::kCpuidCallout, FastPath::kPortCallouts, FastPath::kControlCallouts,
                        FastPath::kStepCallouts, FastPath::kSoftAccesses, FastPath::kFaultingSites}) {
    paths = paths.Without(path);
  }
  return paths;
}

/// register@c0100000; nothing for an empty text.
Sabotage ParseSabotage(const std::string& text) {
  if (text.empty()) return {};
  const size_t at = text.find('@');
  const std::string kind = text.substr(0, at);
  Sabotage sabotage;
  if (kind == "register") sabotage.kind = Sabotage::Kind::kRegister;
  if (kind == "memory") sabotage.kind = Sabotage::Kind::kMemory;
  const auto eip = at == std::string::npos ? std::nullopt : ParseDigits(text.substr(at + 1), 16);
  if (!eip || *eip > UINT32_MAX || sabotage.kind == Sabotage::Kind::kNone)
    throw UsageError(fmt::format("--sabotage {}: say register@EIP or memory@EIP", text));
  sabotage.eip = static_cast<uint32_t>(*eip);
  return sabotage;
}

TranslatorOptions MakeTranslatorOptions(const Options& options, FILE* dump) {
  return {.cache_bytes = options.cache_bytes,
          .max_block_instructions = options.single_instruction_blocks ? 1u : 64u,
          .fast_paths = PathsFor(options),
          .count_executions = !options.stats_file.empty(),
          .dump = dump,
          .record_blocks = !options.lockstep.empty(),
          .sabotage = ParseSabotage(options.sabotage)};
}

}  // namespace

TranslatingEngine::TranslatingEngine(PhysicalMemory& physical, PortBus& ports, const CpuModel& model,
                                     const Options& options, lockstep::Recorder* recorder)
    : recorder_(recorder),
      dump_path_(options.dump_file),
      dump_(OpenReport(options.dump_file)),
      mmu_(physical, {.fast_paths = PathsFor(options)}),
      linear_(physical, PathsFor(options)),
      vcpu_{.run = {}, .cpu = {.state = {}, .model = model, .memory = linear_, .mmu = mmu_, .ports = ports}},
      translator_(physical, mmu_, model, MakeTranslatorOptions(options, dump_)),
      trace_(options.trace_exits_file),
      loop_(vcpu_, mmu_, translator_, trace_),
      signals_(vcpu_, mmu_, translator_, ReportCrash) {
  SetCrashTrace(&trace_);
  if (recorder_) recorder_->Attach(vcpu_, loop_, signals_, translator_);
}

TranslatingEngine::~TranslatingEngine() {
  SetCrashTrace(nullptr);
  CloseReport(dump_);
}

void TranslatingEngine::SetState(const CpuState& state) {
  loop_.StoreFpu();  // nothing of the old state stays in the host's registers
  vcpu_.cpu.state = state;
  vcpu_.cpu.PagingChanged();
  vcpu_.cpu.DebugRegistersChanged();
  if (recorder_) recorder_->GuestLoaded();
}

EngineStop TranslatingEngine::Run() {
  try {
    return loop_.Run();
  } catch (const std::system_error&) {  // fmt says neither which file it was nor what to do
    CheckReports();
    throw;
  }
}

void TranslatingEngine::CheckReports() {
  CheckReport(dump_, dump_path_);
  trace_.Check();
}

CpuState TranslatingEngine::State() {
  loop_.StoreFpu();
  return vcpu_.cpu.state;
}

void TranslatingEngine::SetA20(bool enabled) {
  if (vcpu_.cpu.a20_enabled == enabled) return;
  vcpu_.cpu.a20_enabled = enabled;
  vcpu_.cpu.PagingChanged();
  if (recorder_) recorder_->A20Changed(enabled);
}

void TranslatingEngine::Report(FILE* out, const char* title) {
  PrintGuestReport(out, title, vcpu_, translator_, trace_);
}

void TranslatingEngine::WriteStats(FILE* out, double seconds) {
  WriteStatistics(out, {seconds, translator_.Stats(), loop_.Stats(), signals_.Stats(), loop_.Callouts(), mmu_.Stats(),
                        translator_.Cache().Evictions(), translator_.Cache().LiveBlocks()});
}

}  // namespace ring3
