// The process that asks the processor. All its work is done in a signal handler: what interrupted the 32-bit code is
// the answer to one request, and the return from the handler, with the frame rewritten, starts the next. Returning
// through the kernel also sets 16-bit stack segments up right, which IRET alone does not (the upper half of ESP).
//
// The handler runs with whatever FS was loaded by the code under test, so it uses neither thread-local storage nor
// functions of the C library that could.
#include <immintrin.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>
#include <x86intrin.h>

#include <cstdlib>

#include "tests/oracle/oracle_protocol.h"

namespace {

using namespace ring3::oracle;

constexpr size_t kSignalStackBytes = 64 << 10, kFxsaveBytes = 464;  // behind it the kernel has marks of its own
constexpr int kSignals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGVTALRM, SIGUSR1};
constexpr uint64_t kNt = 1 << 14, kRf = 1 << 16, kId = 1 << 21, kFixed = 0x202;
constexpr int kModifyLdtWrite = 0x11;
constexpr long kLongestRun = 200'000;  // microseconds
constexpr unsigned kEs = 0, kCs = 1, kSs = 2, kDs = 3, kFs = 4, kGs = 5;

Control* control;
uint32_t layout, ldt_version, mapped_count, ldt_count;
Region mapped[kMaxRegions];

long Call(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0) {
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  register long r9 asm("r9") = f;
  long result;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return result;
}

void Copy(void* to, const void* from, size_t bytes) {
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
}

void SetTimer(long microseconds) {
  const itimerval timer = {.it_interval = {}, .it_value = {.tv_sec = 0, .tv_usec = microseconds}};
  Call(SYS_setitimer, ITIMER_VIRTUAL, reinterpret_cast<long>(&timer), 0);
}

void MapRegions() {
  for (uint32_t i = 0; i < mapped_count; ++i) Call(SYS_munmap, mapped[i].address, mapped[i].bytes);
  mapped_count = 0;
  for (uint32_t i = 0; i < control->region_count && !control->refused; ++i) {
    const Region region = control->regions[i];
    const int protection = PROT_READ | PROT_EXEC | (region.writable ? PROT_WRITE : 0);
    // Populated: an ENTER that a page fault of the host restarts may read what it has written itself.
    const long result = Call(SYS_mmap, region.address, region.bytes, protection,
                             MAP_SHARED | MAP_FIXED_NOREPLACE | MAP_POPULATE, kMemoryFd, region.offset);
    if (result < 0) {
      control->refused = static_cast<uint32_t>(-result);
    } else {
      mapped[mapped_count++] = region;
    }
  }
}

void SetLdt() {
  constexpr uint32_t kEmpty = 0x28;  // read-only, not present: with nothing else set, an entry to clear
  for (uint32_t i = 0; i < control->ldt_count || i < ldt_count; ++i) {
    LdtWord word = {i, 0, 0, kEmpty};
    if (i < control->ldt_count) word = control->ldt[i];
    // It returns its errors as 32 bits.
    const int result =
        static_cast<int>(Call(SYS_modify_ldt, kModifyLdtWrite, reinterpret_cast<long>(&word), sizeof word));
    if (result < 0) control->refused = static_cast<uint32_t>(-result);
  }
  ldt_count = control->ldt_count;
}

/// The FPU area of a signal frame goes on as an XSAVE area where bytes that FXSAVE leaves to software say so.
struct FrameArea {
  static constexpr uint32_t kMagic = 0x4650'5853;
  static constexpr uint64_t kX87AndSse = 3, kAvx = 4;

  uint8_t fxsave[kFxsaveBytes];
  uint32_t magic, size;
  uint64_t features;
  uint8_t reserved[32];
  uint64_t in_use;
  uint8_t header[56];
  uint8_t ymm_high[sizeof control->ymm_high];

  bool HasAvx() const { return magic == kMagic && (features & kAvx); }
};

constexpr int kOrder[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI};

void Answer(int signal, const mcontext_t& m) {
  for (unsigned i = 0; i < 8; ++i) control->gpr[i] = static_cast<uint32_t>(m.gregs[kOrder[i]]);
  control->eip = static_cast<uint32_t>(m.gregs[REG_RIP]);
  control->eflags = static_cast<uint32_t>(m.gregs[REG_EFL] & ~kRf);
  control->selectors[kCs] = static_cast<uint16_t>(m.gregs[REG_CSGSFS]);
  control->selectors[kSs] = static_cast<uint16_t>(m.gregs[REG_CSGSFS] >> 48);
  asm volatile("mov %%es, %0" : "=m"(control->selectors[kEs]));
  asm volatile("mov %%ds, %0" : "=m"(control->selectors[kDs]));
  asm volatile("mov %%fs, %0" : "=m"(control->selectors[kFs]));
  asm volatile("mov %%gs, %0" : "=m"(control->selectors[kGs]));
  const auto& area = *reinterpret_cast<const FrameArea*>(m.fpregs);
  Copy(control->fxsave, area.fxsave, sizeof area.fxsave);
  static constexpr uint8_t kZero[sizeof area.ymm_high] = {};
  const bool high = area.HasAvx() && (area.in_use & FrameArea::kAvx);
  Copy(control->ymm_high, high ? area.ymm_high : kZero, sizeof area.ymm_high);
  control->timed_out = signal == SIGVTALRM;
  control->vector = static_cast<uint32_t>(m.gregs[REG_TRAPNO]);
  control->error_code = static_cast<uint32_t>(m.gregs[REG_ERR]);
  control->cr2 = static_cast<uint32_t>(m.gregs[REG_CR2]);
  char byte = 0;
  Call(SYS_write, kSocketFd, reinterpret_cast<long>(&byte), 1);
}

void Await() {
  char byte;
  if (Call(SYS_read, kSocketFd, reinterpret_cast<long>(&byte), 1) != 1) Call(SYS_exit_group, 0);
}

/// Nothing of the LDT may be in use while it changes.
void DropSegments() {
  const uint16_t null = 0;
  asm volatile("mov %0, %%ds\n\tmov %0, %%es\n\tmov %0, %%fs\n\tmov %0, %%gs" : : "m"(null));
}

bool SetUp() {
  control->refused = 0;
  if (layout != control->layout) MapRegions();
  if (ldt_version != control->ldt_version) SetLdt();
  layout = control->refused ? 0 : control->layout;
  ldt_version = control->refused ? 0 : control->ldt_version;
  return !control->refused;
}

void Start(mcontext_t& m) {
  for (unsigned i = 0; i < 8; ++i) m.gregs[kOrder[i]] = control->gpr[i];
  m.gregs[REG_RIP] = control->eip;
  m.gregs[REG_EFL] = control->eflags;
  m.gregs[REG_CSGSFS] = static_cast<greg_t>(control->selectors[kCs] | uint64_t{control->selectors[kSs]} << 48);
  auto& area = *reinterpret_cast<FrameArea*>(m.fpregs);
  Copy(area.fxsave, control->fxsave, sizeof area.fxsave);
  if (area.magic == FrameArea::kMagic) area.in_use = FrameArea::kX87AndSse;  // the rest as after reset
  if (area.HasAvx()) {
    area.in_use |= FrameArea::kAvx;
    Copy(area.ymm_high, control->ymm_high, sizeof area.ymm_high);
  }
  SetTimer(kLongestRun);
  asm volatile("mov %0, %%es" : : "m"(control->selectors[kEs]));
  asm volatile("mov %0, %%ds" : : "m"(control->selectors[kDs]));
  asm volatile("mov %0, %%fs" : : "m"(control->selectors[kFs]));
  asm volatile("mov %0, %%gs" : : "m"(control->selectors[kGs]));
  // The return restores the other flags.
  __writeeflags(kFixed | (control->eflags & (kNt | kId)));
}

void OnSignal(int signal, siginfo_t*, void* raw) {
  // The guest's AC flag would make misaligned accesses here fault.
  __writeeflags(kFixed);
  mcontext_t& m = static_cast<ucontext_t*>(raw)->uc_mcontext;
  if (signal != SIGUSR1) {
    SetTimer(0);
    Answer(signal, m);
  }
  DropSegments();
  for (;;) {
    Await();
    if (SetUp()) break;
    char byte = 0;
    Call(SYS_write, kSocketFd, reinterpret_cast<long>(&byte), 1);
  }
  Start(m);
}

}  // namespace

int main() {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  void* shared = mmap(nullptr, kSharedBytes, PROT_READ | PROT_WRITE, MAP_SHARED, kMemoryFd, 0);
  static uint8_t stack[kSignalStackBytes];
  const stack_t alternate = {.ss_sp = stack, .ss_flags = 0, .ss_size = sizeof stack};
  if (shared == MAP_FAILED || sigaltstack(&alternate, nullptr) != 0) return EXIT_FAILURE;
  control = static_cast<Control*>(shared);
  struct sigaction action {};
  action.sa_sigaction = OnSignal;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigfillset(&action.sa_mask);
  for (int signal : kSignals) sigaction(signal, &action, nullptr);
  raise(SIGUSR1);
  return EXIT_FAILURE;  // not reached: the handler never comes back here
}
