// What callouts work on besides the vCPU. Its functions are inline and use general registers only, because light
// callouts call them.
#pragma once

#include <array>
#include <cstdint>

#include "translator/branch_tables.h"
#include "translator/soft_site.h"
#include "translator/vcpu.h"

namespace ring3 {

struct CalloutContext {
  static constexpr unsigned kCallouts = static_cast<unsigned>(Callout::kCount);

  struct Window {
    uint64_t base = 0;
    WindowId id = 0;
  };
  /// What CPUID said, for as long as nothing that it depends on changes.
  struct CpuidAnswer {
    bool known = false;
    uint32_t leaf = 0, subleaf = 0, cr4 = 0, xcr0 = 0;
    std::array<uint32_t, 4> values{};  // EAX EBX ECX EDX
  };
  static constexpr unsigned kCpuidAnswers = 64;

  CpuidAnswer& CpuidSlot(uint32_t leaf, uint32_t subleaf) {
    return cpuid[(leaf ^ leaf >> 27 ^ subleaf << 3) % kCpuidAnswers];
  }

  CalloutResult Count(Callout callout, CalloutResult result) {
    const bool to_slow_path = result == CalloutResult::kDeclined || result == CalloutResult::kStep;
    ++(to_slow_path ? declined : done)[static_cast<unsigned>(callout)];
    return result;
  }

  BranchTables& tables;
  /// Per data segment register: what loading its selector again would give, as of when that was found out.
  std::array<SegmentRegister, kSegCount>& learnt;
  bool links_blocks = true;
  std::array<Window, 2> windows{};  // the supervisor's, and that of CPL 3
  BlockMode mode;                   // of the translated code that runs
  std::array<CpuidAnswer, kCpuidAnswers> cpuid{};
  std::array<uint64_t, kCallouts> done{}, declined{};
  void (*on_step)(void*) = nullptr;  // after what may have reached a device
  void* on_step_context = nullptr;
  ShadowMmu& mmu;
  class BtEngine* engine = nullptr;
  SoftSite* soft_sites = nullptr;
  SoftNews& soft_news;
  const uint64_t& switches;  // of address spaces
  /// The soft access that is left to the interpreter, for want of an entry in the monitor's TLB.
  struct SoftMiss {
    const SoftMove* move = nullptr;
    uint32_t linear = 0;
    bool writes = false;
  };
  SoftMiss soft_miss{};
};

/// What translated code compares offsets with in segments that are neither flat nor merely based.
inline void PrepareSegmentAccesses(Vcpu& vcpu, BlockMode mode, uint64_t window_base) {
  if (!mode.ChecksLimits()) return;
  /// From the window's base to addresses that are never mapped, however large the offset added to them.
  constexpr uint64_t kGuardDistance = 8ull << 30;
  RunContext& run = vcpu.run;
  const uint64_t guard = window_base + kGuardDistance;
  for (unsigned i = 0; i < kSegCount; ++i) {
    const SegmentShape shape = mode.Shape(static_cast<Seg>(i));
    if (shape != SegmentShape::kLimited && shape != SegmentShape::kReadable) continue;
    const SegmentRegister& segment = vcpu.cpu.state.seg[i];
    run.segment_accesses[i] = {-(int64_t{segment.limit} + 1), window_base + segment.base, {guard, guard}};
  }
  if (mode.Code().limit != 0xFFFF'FFFF) {
    run.branch_check = {-(int64_t{mode.Code().limit} + 1), reinterpret_cast<uint64_t>(&run), {guard, guard}};
  }
}

/// The instruction is done, and EIP and mode are new: prepares going on there, as BtEngine::Enter does for what is
/// entered from the engine; whatever that sets up for a mode is set up here, too. Leaves where that is not known, or
/// the monitor has something to do first.
inline CalloutResult GoOnIn(BlockMode mode, Vcpu& vcpu) {
  RunContext& run = vcpu.run;
  CalloutContext& context = *run.callout_context;
  const CpuState& state = vcpu.cpu.state;
  run.exit_reason = static_cast<uint32_t>(ExitReason::kIndirectMiss);  // the monitor looks at everything
  if (run.interrupts_waiting & run.interrupt_flag) return CalloutResult::kLeave;
  if (!mode.Translatable() || !context.links_blocks) return CalloutResult::kLeave;
  const CalloutContext::Window& window = context.windows[mode.User()];
  const uint32_t* slots = context.tables.Recent(window.id, mode);
  if (!slots || state.eip >= BranchTables::SlotsOf(mode)) return CalloutResult::kLeave;
  const uint32_t code = slots[state.eip];
  if (!code) return CalloutResult::kLeave;
  PrepareSegmentAccesses(vcpu, mode, window.base);
  run.branch_table = reinterpret_cast<uint64_t>(slots);
  run.window_base = window.base;
  run.target = run.code_base + code;
  context.mode = mode;
  return CalloutResult::kDone;
}

inline CalloutResult GoOn(Vcpu& vcpu) { return GoOnIn(BlockMode::Of(vcpu.cpu.state), vcpu); }

/// The same where of the segment registers only these are new.
inline CalloutResult GoOnAfter(Vcpu& vcpu, Seg changed, Seg also_changed) {
  return GoOnIn(vcpu.run.callout_context->mode.After(vcpu.cpu.state, changed, also_changed), vcpu);
}

/// The same where only EIP is new.
inline CalloutResult GoOnInMode(Vcpu& vcpu) {
  RunContext& run = vcpu.run;
  run.exit_reason = static_cast<uint32_t>(ExitReason::kIndirectMiss);
  const uint32_t eip = vcpu.cpu.state.eip;
  if (eip >= BranchTables::SlotsOf(run.callout_context->mode)) return CalloutResult::kLeave;
  const uint32_t code = reinterpret_cast<const uint32_t*>(run.branch_table)[eip];
  run.target = run.code_base + code;
  return code ? CalloutResult::kDone : CalloutResult::kLeave;
}

}  // namespace ring3
