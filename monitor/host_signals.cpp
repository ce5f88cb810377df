#include "monitor/host_signals.h"

#include <sys/mman.h>
#include <ucontext.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "translator/host_registers.h"

namespace ring3 {
namespace {

constexpr size_t kAlternateStackBytes = 256 * 1024;
constexpr int kFaultSignals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
constexpr greg_t kPageFaultTrap = 14;
constexpr greg_t kErrorWrite = 2;
constexpr greg_t kTrapFlag = eflags::kTf, kDirectionFlag = eflags::kDf;

HostSignals* g_active = nullptr;

/// Guest general registers in ucontext order.
constexpr int kContextRegister[kGprCount] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_R15, REG_RBP, REG_RSI, REG_RDI};

void Install(int signal, void (*handler)(int, siginfo_t*, void*)) {
  struct sigaction action = {};
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
  sigaddset(&action.sa_mask, kKickSignal);
  if (sigaction(signal, &action, nullptr) != 0) throw std::system_error(errno, std::generic_category(), "sigaction");
}

}  // namespace

HostSignals* HostSignals::Active() { return g_active; }

HostSignals::HostSignals(Vcpu& vcpu, ShadowMmu& mmu, Translator& translator, CrashHandler crash)
    : vcpu_(vcpu), mmu_(mmu), translator_(translator), crash_(crash) {
  alternate_stack_ = mmap(nullptr, kAlternateStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (alternate_stack_ == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "signal stack");
  stack_t stack = {.ss_sp = alternate_stack_, .ss_flags = 0, .ss_size = kAlternateStackBytes};
  sigaltstack(&stack, nullptr);
  g_active = this;
  for (int signal : kFaultSignals) Install(signal, OnFault);
  Install(kKickSignal, OnKick);
  Install(SIGTRAP, OnStep);
}

HostSignals::~HostSignals() {
  for (int signal : kFaultSignals) std::signal(signal, SIG_DFL);
  std::signal(SIGTRAP, SIG_DFL);
  std::signal(kKickSignal, SIG_IGN);
  g_active = nullptr;
  stack_t stack = {.ss_sp = nullptr, .ss_flags = SS_DISABLE, .ss_size = 0};
  sigaltstack(&stack, nullptr);
  munmap(alternate_stack_, kAlternateStackBytes);
}

void HostSignals::OnFault(int signal, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  const bool from_outside = info->si_code <= 0;  // kill(2), not the processor
  if (!g_active || from_outside || !g_active->HandleFault(*static_cast<ucontext_t*>(context)))
    g_active->crash_(signal, info, context);
  errno = saved_errno;
}

void HostSignals::OnKick(int, siginfo_t*, void* context) {
  if (!g_active) return;
  g_active->vcpu_.run.kick = 1;
  g_active->Divert(*static_cast<ucontext_t*>(context));
}

void HostSignals::OnStep(int signal, siginfo_t* info, void* context) {
  auto& uc = *static_cast<ucontext_t*>(context);
  if (!g_active) return;
  // The step itself may have been a POPF that cleared the trap flag again, so its state proves nothing.
  if (!std::exchange(g_active->stepping_, false)) {
    g_active->crash_(signal, info, context);
    return;
  }
  uc.uc_mcontext.gregs[REG_EFL] &= ~kTrapFlag;
  ++g_active->stats_.stepped_kicks;
  g_active->Divert(uc);
}

bool HostSignals::HandleFault(ucontext_t& context) {
  const uint64_t pc = static_cast<uint64_t>(context.uc_mcontext.gregs[REG_RIP]);
  if (translator_.Cache().FindByHost(pc) == kNone) return false;
  ++stats_.faults;
  if (context.uc_mcontext.gregs[REG_TRAPNO] == kPageFaultTrap) return HandlePageFault(context);
  // Everything else (#DE, #UD, #MF, #XM, a misaligned SSE operand, an address past the canonical half) is raised again,
  // with the guest's own vector and error code, by executing the instruction on the slow path.
  bool busy = false;
  if (!Recover(context, busy) || busy) return false;
  translator_.NoteFault(pc);
  Leave(context, ExitReason::kInterpret);
  return true;
}

bool HostSignals::HandlePageFault(ucontext_t& context) {
  const auto& regs = context.uc_mcontext.gregs;
  if (MakeRecordRoom(context) || ForgetCalls(context) || ResolveReturn(context)) return true;
  const bool write = regs[REG_ERR] & kErrorWrite;
  const FillResult fill = mmu_.HandleFault(HostAddress(static_cast<uint64_t>(regs[REG_CR2])), write);
  if (fill.outcome == FillOutcome::kMapped) {
    // A kernel that copies to and from user pages touches each of them once between two context switches: mapping
    // costs more than it returns. So it does for pages that it maps for a moment itself.
    if (fill.short_lived && vcpu_.cpu.state.cpl != 3) {
      translator_.NoteUserAccess(static_cast<uint64_t>(regs[REG_RIP]));
    } else if (vcpu_.cpu.state.cpl == 3) {
      translator_.NotePageFault(static_cast<uint64_t>(regs[REG_RIP]));
    }
    return true;
  }
  bool busy = false;
  if (fill.outcome == FillOutcome::kNotGuest || !Recover(context, busy) || busy) return false;
  switch (fill.outcome) {
    case FillOutcome::kGuestFault:
      translator_.NotePageFault(static_cast<uint64_t>(regs[REG_RIP]));
      vcpu_.run.fault = {Vector::kPageFault, fill.error_code, fill.linear.value};
      Leave(context, ExitReason::kGuestFault);
      break;
    case FillOutcome::kCodeWrite:
      vcpu_.run.exit_physical = fill.physical;
      Leave(context, ExitReason::kCodeWrite);
      break;
    default:
      Leave(context, ExitReason::kEmulate);
      break;
  }
  return true;
}

/// A block has no room for its record: its store is repeated where there is some.
bool HostSignals::MakeRecordRoom(ucontext_t& context) {
  auto& regs = context.uc_mcontext.gregs;
  if (!record_room_ || !record_room_->IsEnd(static_cast<uint64_t>(regs[REG_CR2]))) return false;
  vcpu_.run.next_record = record_room_->NextRoom();
  regs[REG_R9] = static_cast<greg_t>(vcpu_.run.next_record);
  return true;
}

/// A call found the return stack full: it is repeated on an empty one.
bool HostSignals::ForgetCalls(ucontext_t& context) {
  auto& regs = context.uc_mcontext.gregs;
  const ReturnStack& returns = translator_.Returns();
  if (!returns.IsFull(static_cast<uint64_t>(regs[REG_CR2]))) return false;
  regs[REG_RSP] = static_cast<greg_t>(returns.Empty());
  return true;
}

/// A return came to a site that stands for another EIP.
bool HostSignals::ResolveReturn(ucontext_t& context) {
  auto& regs = context.uc_mcontext.gregs;
  const auto value = [&](int reg) { return static_cast<uint64_t>(regs[reg]); };
  if (!translator_.Cache().IsReturnMismatch(value(REG_CR2))) return false;
  const ReturnResolution next =
      translator_.ResolveReturn(value(REG_RIP), value(REG_RSP), static_cast<uint32_t>(regs[REG_R8]));
  regs[REG_RIP] = static_cast<greg_t>(next.pc);
  regs[REG_RSP] = static_cast<greg_t>(next.rsp);
  return true;
}

/// An asynchronous signal: leave from a precise point, or step on to the next one.
void HostSignals::Divert(ucontext_t& context) {
  auto& regs = context.uc_mcontext.gregs;
  const uint64_t pc = static_cast<uint64_t>(regs[REG_RIP]);
  if (translator_.GetStubs().InEnter(pc)) {
    regs[REG_RIP] = static_cast<greg_t>(translator_.GetStubs().LeaveUnentered());
    regs[REG_EFL] &= ~kDirectionFlag;
    return;
  }
  bool busy = false;
  if (!Recover(context, busy)) return;
  if (busy) {
    regs[REG_EFL] |= kTrapFlag;
    stepping_ = true;
    return;
  }
  ++stats_.kicks_in_translated_code;
  Leave(context, ExitReason::kInterrupted);
}

/// Fills the guest's integer state from a host context inside translated code. False when it is elsewhere.
bool HostSignals::Recover(const ucontext_t& context, bool& busy) {
  const auto& regs = context.uc_mcontext.gregs;
  const uint64_t pc = static_cast<uint64_t>(regs[REG_RIP]);
  CodeCache& cache = translator_.Cache();
  const BlockId id = cache.FindByHost(pc);
  const bool sentinel = translator_.GetStubs().InReturnSentinel(pc);
  if (id == kNone && !sentinel) return false;
  const RecoveryEntry entry = sentinel ? RecoveryEntry{.eip_in_scratch = true} : cache.RecoveryAt(id, pc);
  busy = entry.busy;
  if (busy) return true;
  CpuState& state = vcpu_.cpu.state;
  for (unsigned gpr = 0; gpr < kGprCount; ++gpr) state.gpr[gpr] = static_cast<uint32_t>(regs[kContextRegister[gpr]]);
  const uint32_t scratch = static_cast<uint32_t>(regs[REG_R8]);
  state.gpr[kEsp] += static_cast<uint32_t>(static_cast<int32_t>(entry.esp_delta));
  if (entry.ebp_in_scratch) state.gpr[kEbp] = scratch;
  state.eip = entry.eip_in_scratch ? scratch : entry.eip;
  state.interrupt_shadow = entry.shadow;
  if (entry.repeating) state.eflags |= eflags::kRf;  // SDM 3B 17.3.1.1
  vcpu_.run.host_flags = static_cast<uint32_t>(regs[REG_EFL]) & eflags::kHostHeld;
  return true;
}

void HostSignals::Leave(ucontext_t& context, ExitReason reason) {
  auto& regs = context.uc_mcontext.gregs;
  vcpu_.run.exit_reason = static_cast<uint32_t>(reason);
  regs[REG_RIP] = static_cast<greg_t>(translator_.GetStubs().LeaveRecorded());
  regs[REG_RSP] = static_cast<greg_t>(vcpu_.run.host_rsp);
  vcpu_.run.return_rsp = 0;  // a word of the block's own may lie on top
  regs[REG_R12] = static_cast<greg_t>(reinterpret_cast<uint64_t>(&vcpu_));
  regs[REG_EFL] &= ~(kTrapFlag | kDirectionFlag);
}

}  // namespace ring3
