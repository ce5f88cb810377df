#include "tests/oracle/oracle.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <ucontext.h>
#include <x86intrin.h>

#include <cstddef>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <utility>

namespace ring3 {
namespace {

constexpr uint64_t kUserCs32 = 0x23, kUserCs64 = 0x33, kUserSs = 0x2B;
constexpr uint32_t kDefaultFcw = 0x37F, kDefaultMxcsr = 0x1F80, kRf = 1u << 16;
constexpr unsigned kFcwOffset = 0, kMxcsrOffset = 24;
constexpr size_t kSignalStackBytes = 64 << 10;
constexpr int kSignals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGALRM};

struct OracleContext {
  uint32_t gpr[8];
  uint32_t eip, eflags;
  uint64_t host_rsp;
  alignas(64) uint8_t fxsave[512];
};
static_assert(offsetof(OracleContext, eip) == 32 && offsetof(OracleContext, eflags) == 36);
static_assert(offsetof(OracleContext, host_rsp) == 40 && offsetof(OracleContext, fxsave) == 64);

extern "C" void ring3_oracle_enter(OracleContext*);
extern "C" void ring3_oracle_leave();

// The handler has no other way to find the run in progress.
OracleContext* running = nullptr;
OracleResult* running_result = nullptr;

void CollectState(const mcontext_t& m, OracleState& state) {
  constexpr int kOrder[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI};
  for (unsigned i = 0; i < 8; ++i) state.gpr[i] = static_cast<uint32_t>(m.gregs[kOrder[i]]);
  state.eip = static_cast<uint32_t>(m.gregs[REG_RIP]);
  state.eflags = static_cast<uint32_t>(m.gregs[REG_EFL]) & ~kRf;
  std::memcpy(state.fxsave.data(), m.fpregs, state.fxsave.size());
}

void OnSignal(int signal, siginfo_t*, void* raw) {
  // The guest's AC flag would make misaligned accesses here fault.
  __writeeflags(0x202);
  mcontext_t& m = static_cast<ucontext_t*>(raw)->uc_mcontext;
  const uint64_t selectors = static_cast<uint64_t>(m.gregs[REG_CSGSFS]);
  if ((selectors & 0xFFFF) != kUserCs32) {
    if (signal == SIGALRM) return;
    ::signal(signal, SIG_DFL);  // a bug of the test program itself: let it crash
    return;
  }
  OracleResult& result = *running_result;
  CollectState(m, result.state);
  result.timed_out = signal == SIGALRM;
  result.vector = static_cast<uint32_t>(m.gregs[REG_TRAPNO]);
  result.error_code = static_cast<uint32_t>(m.gregs[REG_ERR]);
  result.cr2 = static_cast<uint32_t>(m.gregs[REG_CR2]);
  constexpr uint64_t kSelectorMask = 0xFFFF, kSsShift = 48;
  m.gregs[REG_CSGSFS] = static_cast<greg_t>((selectors & ~kSelectorMask & ~(kSelectorMask << kSsShift)) | kUserCs64 |
                                            kUserSs << kSsShift);
  m.gregs[REG_RIP] = reinterpret_cast<greg_t>(ring3_oracle_leave);
  m.gregs[REG_RSP] = static_cast<greg_t>(running->host_rsp);
  m.gregs[REG_EFL] = 0x202;
}

/// Handlers, signal stack and timer for the length of one run.
class SignalScope {
 public:
  SignalScope() {
    static const auto stack = std::make_unique<uint8_t[]>(kSignalStackBytes);
    const stack_t alternate{.ss_sp = stack.get(), .ss_flags = 0, .ss_size = kSignalStackBytes};
    sigaltstack(&alternate, &old_stack_);
    struct sigaction action {};
    action.sa_sigaction = OnSignal;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    for (size_t i = 0; i < std::size(kSignals); ++i) sigaction(kSignals[i], &action, &old_actions_[i]);
    SetTimer(1);
  }
  ~SignalScope() {
    SetTimer(0);
    for (size_t i = 0; i < std::size(kSignals); ++i) sigaction(kSignals[i], &old_actions_[i], nullptr);
    sigaltstack(&old_stack_, nullptr);
  }
  SignalScope(const SignalScope&) = delete;
  SignalScope& operator=(const SignalScope&) = delete;

 private:
  static void SetTimer(int seconds) {
    const itimerval timer{.it_interval = {}, .it_value = {.tv_sec = seconds, .tv_usec = 0}};
    setitimer(ITIMER_REAL, &timer, nullptr);
  }
  struct sigaction old_actions_[std::size(kSignals)];
  stack_t old_stack_;
};

/// One region, mapped while this lives.
class MappedRegion {
 public:
  explicit MappedRegion(const OracleRegion& region) : size_(region.bytes.size()) {
    void* wanted = reinterpret_cast<void*>(uintptr_t{region.address});
    memory_ = mmap(wanted, size_, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
                   -1, 0);
    if (memory_ == MAP_FAILED) throw std::runtime_error("oracle: an address is taken in this process");
    std::memcpy(memory_, region.bytes.data(), size_);
    if (!region.writable) mprotect(memory_, size_, PROT_READ | PROT_EXEC);
  }
  MappedRegion(MappedRegion&& other) noexcept : memory_(other.memory_), size_(std::exchange(other.size_, 0)) {}
  ~MappedRegion() {
    if (size_) munmap(memory_, size_);
  }
  const void* Bytes() const { return memory_; }

 private:
  void* memory_;
  size_t size_;
};

}  // namespace

OracleState::OracleState() {
  fxsave.fill(0);
  std::memcpy(&fxsave[kFcwOffset], &kDefaultFcw, sizeof(uint16_t));
  std::memcpy(&fxsave[kMxcsrOffset], &kDefaultMxcsr, sizeof kDefaultMxcsr);
}

OracleResult RunOracle(const OracleState& initial) {
  std::vector<MappedRegion> mapped;
  for (const OracleRegion& region : initial.regions) mapped.emplace_back(region);

  OracleContext context{};
  std::memcpy(context.gpr, initial.gpr.data(), sizeof context.gpr);
  std::memcpy(context.fxsave, initial.fxsave.data(), sizeof context.fxsave);
  context.eip = initial.eip;
  context.eflags = initial.eflags;

  OracleResult result;
  result.state.regions = initial.regions;
  running = &context;
  running_result = &result;
  {
    SignalScope scope;
    ring3_oracle_enter(&context);
  }
  running = nullptr;
  running_result = nullptr;
  for (size_t i = 0; i < mapped.size(); ++i) {
    std::memcpy(result.state.regions[i].bytes.data(), mapped[i].Bytes(), result.state.regions[i].bytes.size());
  }
  return result;
}

}  // namespace ring3
