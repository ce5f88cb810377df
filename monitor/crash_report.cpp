#include "monitor/crash_report.h"

#define UNW_LOCAL_ONLY
#include <fmt/core.h>
#include <libunwind.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstring>
#include <exception>
#include <type_traits>

#include "monitor/host_signals.h"
#include "monitor/options.h"
#include "monitor/terminal.h"
#include "translator/dump.h"

namespace ring3 {
namespace {

const ExitTrace* g_trace = nullptr;

void PrintRegisters(FILE* out, const CpuState& s) {
  static constexpr const char* kNames[] = {"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"};
  for (unsigned i = 0; i < kGprCount; ++i) fmt::print(out, "{}={:08x}{}", kNames[i], s.gpr[i], i % 4 == 3 ? "\n" : " ");
  fmt::print(out, "eip={:08x} eflags={:08x} cpl={} halted={} cr0={:08x} cr2={:08x} cr3={:08x} cr4={:08x}\n", s.eip,
             s.eflags, s.cpl, s.halted, s.cr0, s.cr2, s.cr3, s.cr4);
  static constexpr const char* kSegments[] = {"es", "cs", "ss", "ds", "fs", "gs"};
  auto print = [&](const char* name, const SegmentRegister& r) {
    fmt::print(out, "{:<4} {:04x} base {:08x} limit {:08x} attributes {:04x}\n", name, r.selector, r.base, r.limit,
               r.attributes);
  };
  for (unsigned i = 0; i < kSegCount; ++i) print(kSegments[i], s.seg[i]);
  print("ldtr", s.ldtr);
  print("tr", s.tr);
  fmt::print(out, "gdtr base {:08x} limit {:04x}  idtr base {:08x} limit {:04x}\n", s.gdtr.base, s.gdtr.limit,
             s.idtr.base, s.idtr.limit);
}

/// Guest code at EIP, read without side effects.
void PrintGuestCode(FILE* out, const CpuState& s, PhysicalMemory& memory, bool a20_enabled) {
  uint32_t at = s.Segment(Seg::kCs).base + s.eip;
  for (unsigned i = 0; i < 6; ++i) {
    WalkResult walk = Peek(memory, PagingState::From(s, a20_enabled), GuestLinear(at));
    if (!walk.ok) {
      fmt::print(out, "  {:08x}  not mapped\n", at);
      return;
    }
    uint8_t bytes[15];
    const uint32_t room = std::min<uint32_t>(sizeof bytes, kPageSize - (at & kPageMask));
    memory.Read(walk.translation.page + (at & kPageMask), {bytes, room});
    unsigned length = 1;
    std::string text = Disassemble({bytes, room}, at, s.Code32() ? CodeSize::k32 : CodeSize::k16, length);
    fmt::print(out, "  {:08x}  {}\n", at, text);
    at += length;
  }
}

void PrintFrame(FILE* out, unsigned number, unw_cursor_t& cursor, uint64_t pc, const Translator* translator) {
  if (translator) {
    const CodeCache& cache = translator->Cache();
    const BlockId id = cache.FindByHost(pc);
    if (id != kNone) {
      fmt::print(out, "#{:<2} {:016x} translation of guest {:08x} (block {:08x})\n", number, pc,
                 cache.RecoveryAt(id, pc).eip, cache.Get(id).key.eip);
      return;
    }
    if (cache.Contains(pc)) {
      fmt::print(out, "#{:<2} {:016x} run-time stub\n", number, pc);
      return;
    }
  }
  char name[256] = "?";
  unw_word_t offset = 0;
  unw_get_proc_name(&cursor, name, sizeof name, &offset);
  fmt::print(out, "#{:<2} {:016x} {}+{:#x}\n", number, pc, name, offset);
}

/// What the enter stub pushed, from the stack pointer it recorded upwards.
struct EnterFrame {
  uint64_t padding, r15, r14, r13, r12, rbp, rbx, return_address;
};

/// Translated code and stubs have no unwind tables but one fixed frame: the caller's context is read from it.
void StepOverTranslatedCode(unw_context_t& context, const RunContext& run) {
  const auto* frame = reinterpret_cast<const EnterFrame*>(run.host_rsp);
  auto& regs = context.uc_mcontext.gregs;
  const auto set = [&](int reg, uint64_t value) { regs[reg] = static_cast<greg_t>(value); };
  set(REG_R15, frame->r15);
  set(REG_R14, frame->r14);
  set(REG_R13, frame->r13);
  set(REG_R12, frame->r12);
  set(REG_RBP, frame->rbp);
  set(REG_RBX, frame->rbx);
  set(REG_RIP, frame->return_address);
  set(REG_RSP, run.host_rsp + sizeof(EnterFrame));
}

/// Walks from `signal_context`, or from here when there is none.
void PrintBacktrace(FILE* out, const void* signal_context, HostSignals* active) {
  constexpr unsigned kMostFrames = 40;
  const Translator* translator = active ? &active->GetTranslator() : nullptr;
  static_assert(std::is_same_v<unw_context_t, ucontext_t>);
  unw_context_t context;
  unw_cursor_t cursor;
  if (signal_context) {
    context = *static_cast<const ucontext_t*>(signal_context);
  } else {
    unw_getcontext(&context);
  }
  unw_init_local(&cursor, &context);
  for (unsigned number = 0; number < kMostFrames; ++number) {
    unw_word_t pc = 0;
    unw_get_reg(&cursor, UNW_REG_IP, &pc);
    if (pc == 0) break;
    PrintFrame(out, number, cursor, pc, translator);
    if (translator && translator->Cache().Contains(pc)) {
      StepOverTranslatedCode(context, active->GetVcpu().run);
      unw_init_local(&cursor, &context);
    } else if (unw_step(&cursor) <= 0) {
      break;
    }
  }
}

void ReportAll(const char* title, void* context) {
  RawTerminal::Restore();
  HostSignals* active = HostSignals::Active();
  fmt::print(stderr, "\nring3: {}\nmonitor backtrace:\n", title);
  PrintBacktrace(stderr, context, active);
  std::fflush(stderr);
  static const ExitTrace kEmpty;
  if (active) PrintGuestReport(stderr, title, active->GetVcpu(), active->GetTranslator(), g_trace ? *g_trace : kEmpty);
  std::fflush(stderr);
}

}  // namespace

void SetCrashTrace(const ExitTrace* trace) { g_trace = trace; }

void PrintGuestState(FILE* out, const char* title, const CpuState& state, PhysicalMemory& physical, bool a20_enabled) {
  fmt::print(out, "\nring3: {}\n", title);
  PrintRegisters(out, state);
  fmt::print(out, "guest code:\n");
  PrintGuestCode(out, state, physical, a20_enabled);
}

void PrintGuestReport(FILE* out, const char* title, Vcpu& vcpu, const Translator& translator, const ExitTrace& trace) {
  PrintGuestState(out, title, vcpu.cpu.state, vcpu.cpu.memory.Physical(), vcpu.cpu.a20_enabled);
  const BlockId last = translator.Cache().FindByHost(vcpu.run.target);
  if (last != kNone) {
    fmt::print(out, "block entered last:\n");
    translator.Dump(out, last);
  }
  fmt::print(out, "last exits from translated code, oldest first:\n");
  trace.Print(out);
}

void ReportCrash(int signal, siginfo_t* info, void* context) {
  for (int fatal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT}) {
    std::signal(fatal, [](int) { _exit(exit_code::kInternal); });  // the report itself crashed
  }
  std::signal(kKickSignal, SIG_IGN);
  const std::string title = fmt::format("internal error: signal {} ({}) at address {:016x}", signal, strsignal(signal),
                                        reinterpret_cast<uint64_t>(info ? info->si_addr : nullptr));
  ReportAll(title.c_str(), context);
  _exit(exit_code::kInternal);
}

void InstallTerminateReport() {
  std::set_terminate([] {
    std::string title = "internal error";
    if (std::exception_ptr current = std::current_exception()) {
      try {
        std::rethrow_exception(current);
      } catch (const std::exception& error) {
        title += fmt::format(": {}", error.what());
      } catch (...) {
        title += ": unknown exception";
      }
    }
    ReportAll(title.c_str(), nullptr);
    _exit(exit_code::kInternal);
  });
}

}  // namespace ring3
