#include "monitor/bt_engine.h"

#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "monitor/callouts.h"
#include "monitor/cpu/descriptor.h"
#include "monitor/cpu/interrupts.h"
#include "monitor/interpreter/fpu_state.h"
#include "monitor/interpreter/interpreter.h"

namespace ring3 {

/// The image of FNSTENV in 64-bit mode, SDM 1 figure 8-9.
struct X87Environment {
  uint32_t control, status, tags, fip, fop_and_selector, fdp, fds;
};

namespace {

constexpr Seg kCheckedSegments[] = {Seg::kEs, Seg::kDs, Seg::kFs, Seg::kGs};

/// AMD's XSAVE leaves the x87 pointers out unless an exception is pending: a switch of the host to another thread or
/// to a signal handler clears them. Guest instructions that clear them (FNINIT, FNSAVE) are the interpreter's.
bool PointersLost(const X87Environment& environment) { return environment.fip == 0 && __builtin_cpu_is("amd"); }

}  // namespace

BtEngine::BtEngine(Vcpu& vcpu, ShadowMmu& mmu, Translator& translator, ExitTrace& trace)
    : vcpu_(vcpu),
      mmu_(mmu),
      translator_(translator),
      trace_(trace),
      callouts_{.tables = translator.Tables(),
                .learnt = learnt_,
                .links_blocks = translator.LinksBlocks(),
                .mmu = mmu,
                .engine = this,
                .soft_sites = translator.SoftSites(),
                .soft_news = translator.News(),
                .switches = mmu.Stats().cr3_loads} {
  InstallCallouts(vcpu_, callouts_);
  vcpu_.run.soft_budgets = translator_.SoftBudgets();
  translator_.SetThunkCells(&vcpu_.run.thunk_cells);
  vcpu_.cpu.memory.ServeSoft(vcpu_.run.soft_tlb);
  vcpu_.run.code_base = reinterpret_cast<uint64_t>(translator_.Cache().Base());
  vcpu_.run.return_empty = translator_.Returns().Empty();
  vcpu_.cpu.fpu_keeper = this;
  vcpu_.cpu.breakpoint_listener = this;
}

BtEngine::~BtEngine() {
  translator_.SetThunkCells(nullptr);
  vcpu_.cpu.fpu_keeper = nullptr;
  vcpu_.cpu.breakpoint_listener = nullptr;
}

EngineStop BtEngine::Run() {
  for (;;) {
    if (const auto stop = RunOnce()) return *stop;
  }
}

std::optional<EngineStop> BtEngine::RunOnce() {
  CpuState& state = vcpu_.cpu.state;
  if (vcpu_.run.kick) return EngineStop::kAttention;
  if (DeliverPending()) return std::nullopt;
  const bool held_off = state.interrupt_shadow && !state.halted;
  if (vcpu_.run.interrupts_waiting && (state.eflags & eflags::kIf) && !held_off) {
    return EngineStop::kInterruptible;
  }
  if (state.halted) return EngineStop::kHalted;
  if (!debug_.Empty() && AtDebugStop()) [[unlikely]]
    return EngineStop::kDebug;
  const BlockMode mode = BlockMode::Of(state);
  // RF goes with the first instruction that completes; translated code knows nothing of it.
  if (!mode.Translatable() || state.interrupt_shadow || (state.eflags & eflags::kRf)) {
    if (!mode.Translatable()) ++stats_.untranslatable_steps;
    StepOne();
    return std::nullopt;
  }
  const uint32_t* table = translator_.SelectTable(mode);
  vcpu_.run.branch_table = reinterpret_cast<uint64_t>(translator_.TableOfCode(table));
  // What is in the branch table may be entered without another look, as translated code does.
  if (const uint32_t code = state.eip < BranchTables::SlotsOf(mode) ? table[state.eip] : 0) {
    Enter(vcpu_.run.code_base + code, mode);
    HandleExit();
    return std::nullopt;
  }
  const CodeLookup found = translator_.Lookup(state.eip, mode);
  switch (found.outcome) {
    case FillOutcome::kMapped:
      Enter(translator_.EntryOf(found.block), mode);
      HandleExit();
      break;
    case FillOutcome::kGuestFault:
      MonitorActs();
      Deliver(found.fault);
      break;
    default:
      StepOne();
      break;
  }
  return std::nullopt;
}

/// What became due while an event was delivered: a debug trap, or an NMI.
bool BtEngine::DeliverPending() {
  if (vcpu_.cpu.state.DebugTrapDue()) {
    MonitorActs();
    Deliver({Vector::kDebug, std::nullopt});
    return true;
  }
  if (!vcpu_.cpu.state.NmiDue()) return false;
  MonitorActs();
  ++stats_.interrupts_delivered;
  DeliverNmi(vcpu_.cpu);
  return true;
}

void BtEngine::Enter(uint64_t target, BlockMode mode) {
  CpuState& state = vcpu_.cpu.state;
  RunContext& run = vcpu_.run;
  run.target = target;
  run.window_base = mmu_.Base(mmu_.Current(mode.User())).value;
  run.host_flags = state.eflags & eflags::kHostHeld;
  run.interrupt_flag = state.eflags & eflags::kIf;
  run.avx = state.xcr0 & xstate::kAvx;
  state.eflags &= kFlagsHeldInState;
  PrepareSegmentChecks();
  PrepareSegmentAccesses(vcpu_, mode, run.window_base);
  NoteWindows(callouts_);
  callouts_.mode = mode;
  const uint64_t generation = translator_.ReturnGeneration();
  const bool known = run.return_rsp && calls_.generation == generation && calls_.branch_table == run.branch_table;
  if (!known) run.return_rsp = run.return_empty;
  translator_.GetStubs().Enter(&vcpu_);
  calls_ = {generation, run.branch_table};
  state.eflags = vcpu_.Flags();
  if (thrown_) [[unlikely]]
    std::rethrow_exception(std::exchange(thrown_, nullptr));
}

void BtEngine::HandleExit() {
  const ExitReason reason = static_cast<ExitReason>(vcpu_.run.exit_reason);
  ++stats_.exits[vcpu_.run.exit_reason];
  const LinkId link = reason == ExitReason::kLinkMiss ? UnfollowedLink() : kNone;
  trace_.Record(reason, vcpu_.cpu.state);
  if (observer_) observer_->TranslatedCodeLeft(reason == ExitReason::kLinkMiss || reason == ExitReason::kIndirectMiss);
  switch (reason) {
    case ExitReason::kInterrupted:
      MonitorActs();
      break;
    case ExitReason::kIndirectMiss:
      break;  // the next lookup fills the branch table
    case ExitReason::kLinkMiss:
      FollowLink(link);
      break;
    case ExitReason::kDemoted:
      StepDemoted();
      break;
    case ExitReason::kEmulate:
      // Breakpoints come and go; a site that runs into one is not demoted for it.
      if (const auto site = CurrentSite(); site && !PagesWithheld()) {
        translator_.NoteEmulatedAccess(*site);
      }
      [[fallthrough]];
    case ExitReason::kInterpret:
    case ExitReason::kCodeWrite:
      StepOne();
      break;
    case ExitReason::kGuestFault:
      MonitorActs();
      Deliver(vcpu_.run.fault);
      break;
    case ExitReason::kStale: {
      MonitorActs();
      const CodeLookup found = LookupHere();
      if (found.outcome == FillOutcome::kMapped) translator_.DropStale(found.block);
      break;
    }
    case ExitReason::kCount:
      break;
  }
}

/// The block at EIP. Callouts change the mode, so it need not be the one that was entered.
CodeLookup BtEngine::LookupHere() {
  const BlockMode mode = BlockMode::Of(vcpu_.cpu.state);
  translator_.SelectTable(mode);
  return translator_.Lookup(vcpu_.cpu.state.eip, mode);
}

/// The direct exit that was not linked; EIP becomes its target.
LinkId BtEngine::UnfollowedLink() {
  const CodeCache& cache = translator_.Cache();
  const LinkId link = cache.LinkBehind(vcpu_.run.exit_site);
  vcpu_.cpu.state.eip = cache.GetLink(link).target_eip;
  return link;
}

/// Makes the translation of a direct exit's target and links the exit to it, unless making it evicted the exit.
void BtEngine::FollowLink(LinkId link) {
  if (!translator_.LinksBlocks()) return;
  const uint64_t evictions = translator_.Cache().Evictions();
  const CodeLookup found = LookupHere();
  if (found.outcome == FillOutcome::kMapped && translator_.Cache().Evictions() == evictions) {
    translator_.LinkExit(link, found.block);
  }
}

void BtEngine::StepOne() {
  MonitorActs();
  ++stats_.interpreted;
  const CpuState& state = vcpu_.cpu.state;
  const uint32_t leaf = state.gpr[kEax], subleaf = state.gpr[kEcx];
  try {
    StepResult step;
    if (const auto fault = TryStep(vcpu_.cpu, step)) {
      Deliver(*fault);
    } else {
      if (step.mnemonic == ZYDIS_MNEMONIC_CPUID) NoteCpuid(callouts_, state, leaf, subleaf);
      ++stats_.interpreted_by_mnemonic[step.mnemonic];
      if (step.mnemonic == ZYDIS_MNEMONIC_MOV || step.mnemonic == ZYDIS_MNEMONIC_POP) LearnSegments();
      if (step.halted) vcpu_.cpu.state.halted = true;
      if (step.x87_error_line) fpu_error_();
      if (step.debug_trap) Deliver({Vector::kDebug, std::nullopt});
    }
  } catch (const GuestFault& fault) {
    Deliver(fault);
  }
  on_step_();
}

void BtEngine::Deliver(const GuestFault& fault) {
  ++stats_.faults_delivered;
  ++stats_.faults_by_vector[static_cast<unsigned>(fault.vector)];
  if (fault.vector == Vector::kPageFault) callouts_.soft_news.NoteFault(fault.cr2 >> kPageShift);
  DeliverFault(vcpu_.cpu, fault);
}

void BtEngine::DeliverInterrupt(uint8_t vector) {
  ++stats_.interrupts_delivered;
  if (observer_) {
    MonitorActs();
    observer_->InterruptDelivered(vector);
  }
  DeliverExternalInterrupt(vcpu_.cpu, vector);
}

void BtEngine::StoreFpu() {
  if (std::exchange(vcpu_.run.fpu_in_image, 1u)) return;
  alignas(64) std::array<uint8_t, 512> host{};
  X87Environment environment;
  asm volatile("fxsave64 %0\n\tfnstenv %1\n\tfninit" : "=m"(host), "=m"(environment));
  CpuState& state = vcpu_.cpu.state;
  const X87Pointers loaded = LoadPointers(state);
  state.fxsave = host;
  StoreFx(state, fxsave::kMxcsr, vcpu_.run.mxcsr);
  const uint8_t* vector = vcpu_.run.ymm.data();
  for (unsigned i = 0; i < kVectorCount; ++i, vector += kYmmBytes) {
    std::memcpy(&state.fxsave[fxsave::kXmm0 + kXmmBytes * i], vector, kXmmBytes);
    if (vcpu_.run.avx) std::memcpy(&state.ymm_high[kXmmBytes * i], vector + kXmmBytes, kXmmBytes);
  }
  const bool unchanged = environment.fip == loaded.fip || PointersLost(environment);
  StorePointers(state, unchanged ? loaded : NameX87Instruction(environment));
}

/// The host recorded where it executed the last x87 instruction, and the host address of its operand: the guest must
/// see its own EIP, and selector and offset of the operand.
X87Pointers BtEngine::NameX87Instruction(const X87Environment& environment) const {
  // FNSTENV has the low half of the address. FXSAVE has the whole, but on AMD only while an exception is pending.
  const auto cache = reinterpret_cast<uint64_t>(translator_.Cache().Base());
  const uint64_t host_pc = cache + (environment.fip - static_cast<uint32_t>(cache));
  const std::optional<uint32_t> eip = translator_.GuestEipOf(host_pc);
  if (!eip) return {.fip = environment.fip, .fdp = environment.fdp};
  const CpuState& state = vcpu_.cpu.state;
  const SegmentRegister& segment = state.Segment(translator_.OperandSegmentOf(host_pc));
  constexpr uint32_t kFopMask = 0x7FF;
  return {.fop = static_cast<uint16_t>(environment.fop_and_selector >> 16 & kFopMask),
          .fcs = state.Segment(Seg::kCs).selector,
          .fds = segment.selector,
          .fip = *eip,
          .fdp = environment.fdp - segment.base};  // window bases are 4 GiB-aligned: the low half was linear
}

/// After a load that the inline check did not cover: notes descriptors that give just what the registers hold.
void BtEngine::LearnSegments() {
  const CpuState& state = vcpu_.cpu.state;
  if (!UsesDescriptors(state)) return;
  for (Seg s : kCheckedSegments) {
    const unsigned i = static_cast<unsigned>(s);
    const SegmentRegister& held = state.Segment(s);
    if (learnt_[i] == held || InLdt(held.selector)) continue;
    try {
      const auto descriptor = FindDescriptor(vcpu_.cpu, held.selector);
      if (!descriptor) continue;
      const bool accessed = descriptor->Type() & segattr::kAccessed;
      if (!IsNull(held.selector) && !(accessed && descriptor->Load(held.selector) == held)) continue;
      vcpu_.run.segment_checks[i].negated_descriptor = -descriptor->raw;
      vcpu_.run.segment_checks[i].descriptor_address = DescriptorAddress(state, held.selector).value;
      learnt_[i] = held;
    } catch (const GuestFault&) {
      // The table cannot be read: nothing is learnt.
    }
  }
}

/// Interrupts, returns and task switches change segment registers, too: only what is held as learnt may match.
void BtEngine::PrepareSegmentChecks() {
  const CpuState& state = vcpu_.cpu.state;
  for (Seg s : kCheckedSegments) {
    const unsigned i = static_cast<unsigned>(s);
    const uint32_t offset = state.seg[i].selector & 0xFFF8u;
    const bool in_table =
        vcpu_.run.segment_checks[i].descriptor_address == state.gdtr.base + offset && offset + 7 <= state.gdtr.limit;
    const bool known = learnt_[i] == state.seg[i] && in_table;
    vcpu_.run.segment_checks[i].negated_selector = known ? -uint32_t{state.seg[i].selector} : SegmentCheck::kNever;
  }
}

/// Where the current instruction lies in guest-physical memory.
std::optional<GuestPhysical> BtEngine::CurrentSite() {
  try {
    const GuestLinear linear(vcpu_.cpu.state.Segment(Seg::kCs).base + vcpu_.cpu.state.eip);
    return vcpu_.cpu.memory.Translate(linear, {AccessType::kFetch, vcpu_.cpu.User()});
  } catch (const GuestFault&) {
    return std::nullopt;  // the step that follows raises the same fault
  }
}

}  // namespace ring3
