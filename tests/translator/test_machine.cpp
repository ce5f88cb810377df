#include "tests/translator/test_machine.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <stdexcept>

#include "monitor/cpu/interrupts.h"
#include "monitor/interpreter/interpreter.h"

namespace ring3 {
namespace {

constexpr uint8_t kInt3 = 0xCC;
constexpr uint16_t kFlatData = 0xC093, kFlatCode = 0xC09B, kDpl3 = 0x60;  // attributes: G, B/D, present, S, accessed
constexpr uint16_t kAvailableTss = 0x0089, kBusyTss = 0x008B, kTaskGate = 0x0085, kInterruptGate = 0x008E;
constexpr uint32_t kTssBytes = 104, kTssStride = 128, kHandlerStride = 16, kHandlerTasks = 32;
constexpr uint16_t kGdtLimit = guest::kFirstHandlerTask + 8 * kHandlerTasks - 1, kIdtLimit = 256 * 8 - 1;

/// Offsets in a 32-bit TSS, SDM 3A figure 7-2.
namespace tss {
constexpr uint32_t kEsp0 = 4, kSs0 = 8, kCr3 = 28, kEip = 32, kEflags = 36, kGpr = 40, kSegments = 72, kIoMap = 102;
}

uint64_t Descriptor(uint32_t base, uint32_t limit20, uint16_t attributes) {
  return (limit20 & 0xFFFFu) | uint64_t{base & 0xFF'FFFF} << 16 | uint64_t{attributes & 0xFFu} << 40 |
         uint64_t{limit20 >> 16} << 48 | uint64_t{attributes & 0xF000u} << 40 | uint64_t{base >> 24} << 56;
}

uint64_t Gate(uint16_t selector, uint32_t offset, uint16_t attributes, unsigned dpl) {
  return (offset & 0xFFFFu) | uint64_t{selector} << 16 | uint64_t{attributes | dpl << 5} << 40 |
         uint64_t{offset >> 16} << 48;
}

/// In the environment RING3_WITHOUT=all runs any of these tests without the optional mechanisms, RING3_DEMOTE=all with
/// soft accesses wherever there can be any.
TestMachineOptions AsEnvironmentSays(TestMachineOptions options) {
  const auto says_all = [](const char* name) {
    const char* value = std::getenv(name);
    return value && std::strcmp(value, "all") == 0;
  };
  if (says_all("RING3_WITHOUT")) options.translator.fast_paths = FastPaths::None();
  if (says_all("RING3_DEMOTE")) options.translator.demote_all = true;
  return options;
}

/// Of this thread, so that other load doesn't count.
std::chrono::nanoseconds ProcessorTime() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

void Crash(int signal, siginfo_t* info, void*) {
  char text[120];
  const int length = std::snprintf(text, sizeof text, "test machine: host signal %d at %p\n", signal, info->si_addr);
  if (write(STDERR_FILENO, text, static_cast<size_t>(length)) < 0) std::abort();
  std::abort();
}

}  // namespace

TestMachine::TestMachine(TestMachineOptions options)
    : options_(AsEnvironmentSays(options)),
      kernel_base_(options.kernel_base),
      mmu_(physical_, {.fast_paths = options.translator.fast_paths}),
      vcpu_{
          .run = {},
          .cpu = {.state = {}, .model = FindCpuModel(options.model), .memory = linear_, .mmu = mmu_, .ports = ports_}} {
  if (!options.interpreter) {
    translator_ = std::make_unique<Translator>(physical_, mmu_, vcpu_.cpu.model, options_.translator);
    engine_ = std::make_unique<BtEngine>(vcpu_, mmu_, *translator_, trace_);
    signals_ = std::make_unique<HostSignals>(vcpu_, mmu_, *translator_, options.crash ? options.crash : Crash);
  }
  BuildPaging();
  Reset(3);
}

TestMachine::~TestMachine() = default;

void TestMachine::BuildTables() {
  const auto set = [this](uint16_t selector, uint32_t base, uint32_t limit, uint16_t attributes) {
    Set<uint64_t>(guest::kGdt + (selector & ~7u), Descriptor(base, limit, attributes));
  };
  set(guest::kCode0, 0, 0xFFFFF, kFlatCode);
  set(guest::kData0, 0, 0xFFFFF, kFlatData);
  set(guest::kMainTask, kernel_base_ + guest::kTss, kTssBytes - 1, kBusyTss);
  set(guest::kCode3, 0, 0xFFFFF, kFlatCode | kDpl3);
  set(guest::kData3, 0, 0xFFFFF, kFlatData | kDpl3);
  set(guest::kFs, guest::kFsBase, 0xFFFFF, kFlatData | kDpl3);
  set(guest::kGs, guest::kGsBase, 0xFFFFF, kFlatData | kDpl3);
  set(guest::kSmall, guest::kData, guest::kSmallBytes - 1, 0x4093 | kDpl3);
  set(guest::kReadOnly, 0, 0xFFFFF, 0xC091 | kDpl3);
  set(guest::kCode16, guest::kCode, 0xFFFF, 0x009B);

  std::array<uint8_t, kTssStride> empty{};
  Write(guest::kTss, empty);
  Set<uint32_t>(guest::kTss + tss::kEsp0, kernel_base_ + guest::kKernelStackTop);
  Set<uint16_t>(guest::kTss + tss::kSs0, guest::kData0);
  Set<uint16_t>(guest::kTss + tss::kIoMap, kTssBytes);
  for (uint32_t i = 0; i < kHandlerTasks; ++i) {
    const uint32_t task = guest::kHandlerTss + i * kTssStride, handler = guest::kHandlers + i * kHandlerStride;
    const uint16_t selector = static_cast<uint16_t>(guest::kFirstHandlerTask + 8 * i);
    set(selector, kernel_base_ + task, kTssBytes - 1, kAvailableTss);
    Write(task, empty);
    Set<uint32_t>(task + tss::kCr3, guest::kPageDirectory);
    Set<uint32_t>(task + tss::kEip, kernel_base_ + handler);
    Set<uint32_t>(task + tss::kEflags, eflags::kReserved1);
    Set<uint32_t>(task + tss::kGpr + 4 * kEsp, kernel_base_ + guest::kHandlerStackTop);
    for (unsigned s = 0; s < kSegCount; ++s) {
      const bool code = s == static_cast<unsigned>(Seg::kCs);
      Set<uint32_t>(task + tss::kSegments + 4 * s, code ? guest::kCode0 : guest::kData0);
    }
    // Linux lets its programs use the gates of INT3 and INTO.
    const bool own = kernel_base_ && i != 3 && i != 4;
    Set<uint64_t>(guest::kIdt + 8 * i, Gate(selector, 0, kTaskGate, own ? 0 : 3));
  }
}

void TestMachine::BuildPaging() {
  for (uint32_t i = 0; i < kHandlerTasks; ++i) {
    const uint8_t halt[] = {0xF4, 0xEB, 0xFD};  // hlt; jmp -3
    Write(guest::kHandlers + i * kHandlerStride, halt);
  }
  const uint32_t kernel_bytes = kernel_base_ ? guest::kKernelBytes : 4u << 20;
  for (uint32_t page = 0; page < kernel_bytes; page += kPageSize) {
    Map(kernel_base_ + page, page, guest::kPresent | guest::kWritable);
  }
  constexpr uint32_t kAll = guest::kPresent | guest::kWritable | guest::kUser;
  for (uint32_t at = 0; at < guest::kDataBytes; at += kPageSize) Map(guest::kData + at, guest::kDataFrames + at, kAll);
  for (uint32_t at = 0; at < guest::kStackBytes; at += kPageSize)
    Map(guest::kStack + at, guest::kStackFrames + at, kAll);
  if (kernel_base_) Map(guest::kTop, guest::kTopFrames, kAll);
}

uint32_t TestMachine::EntryAddress(uint32_t linear) {
  const uint32_t directory_entry = guest::kPageDirectory + (linear >> 22) * 4;
  if (!(Get<uint32_t>(directory_entry) & guest::kPresent)) {
    if (next_table_ == guest::kPageTablesEnd) throw std::logic_error("test machine: out of page tables");
    Set<uint32_t>(directory_entry, next_table_ | guest::kPresent | guest::kWritable | guest::kUser);
    next_table_ += kPageSize;
  }
  return (Get<uint32_t>(directory_entry) & ~kPageMask) + (linear >> kPageShift) % 1024 * 4;
}

void TestMachine::Map(uint32_t linear, uint32_t physical, uint32_t flags) {
  Set<uint32_t>(EntryAddress(linear), (physical & ~kPageMask) | flags);
  mmu_.InvalidatePage(GuestLinear(linear));
  linear_.InvalidatePage(GuestLinear(linear));
}

void TestMachine::SetGate(uint8_t vector, uint32_t eip, unsigned dpl) {
  Set<uint64_t>(guest::kIdt + 8u * vector, Gate(guest::kCode0, eip, kInterruptGate, dpl));
}

void TestMachine::LoadCode(std::span<const uint8_t> code, uint32_t offset, bool writable) {
  std::vector<uint8_t> region(guest::kCodeBytes, kInt3);
  std::copy(code.begin(), code.end(), region.begin() + offset);
  if (next_frame_ + guest::kCodeBytes > guest::kRamBytes) next_frame_ = guest::kFreeFrames;
  Write(next_frame_, region);
  for (uint32_t at = 0; at < guest::kCodeBytes; at += kPageSize) {
    Map(guest::kCode + at, next_frame_ + at, guest::kPresent | guest::kUser | (writable ? guest::kWritable : 0));
  }
  code_frame_ = next_frame_;
  next_frame_ += guest::kCodeBytes;
}

void TestMachine::Reset(unsigned cpl, bool paging) {
  BuildTables();
  CpuState& s = State();
  s = {};
  s.Reset();
  s.cr0 = cr0::kPe | cr0::kEt | cr0::kNe | cr0::kMp | (paging ? cr0::kPg | cr0::kWp : 0);
  s.cr4 = cr4::kOsfxsr | cr4::kOsxmmexcpt | cr4::kPge;
  if (const uint32_t supported = vcpu_.cpu.model.Xcr0Supported()) {
    s.cr4 |= cr4::kOsxsave;
    s.xcr0 = supported;
  }
  s.cr3 = guest::kPageDirectory;
  s.cpl = static_cast<uint8_t>(cpl);
  s.gdtr = {kernel_base_ + guest::kGdt, kGdtLimit};
  s.idtr = {kernel_base_ + guest::kIdt, kIdtLimit};
  s.tr = {
      .selector = guest::kMainTask, .attributes = kBusyTss, .base = kernel_base_ + guest::kTss, .limit = kTssBytes - 1};
  const auto attributes = [cpl](uint16_t kind) { return static_cast<uint16_t>(kind | cpl << segattr::kDplShift); };
  for (SegmentRegister& segment : s.seg) {
    segment = {cpl == 3 ? guest::kData3 : guest::kData0, attributes(kFlatData), 0, 0xFFFF'FFFF};
  }
  s.Segment(Seg::kCs) = {cpl == 3 ? guest::kCode3 : guest::kCode0, attributes(kFlatCode), 0, 0xFFFF'FFFF};
  s.Segment(Seg::kFs) = {guest::kFs, kFlatData | kDpl3, guest::kFsBase, 0xFFFF'FFFF};
  s.Segment(Seg::kGs) = {guest::kGs, kFlatData | kDpl3, guest::kGsBase, 0xFFFF'FFFF};
  s.eip = guest::kCode;
  s.eflags = eflags::kReserved1 | eflags::kIf;
  s.gpr[kEsp] = guest::kStack + guest::kStackBytes / 2;
  vcpu_.run.kick = 0;
  vcpu_.run.interrupts_waiting = 0;
  vcpu_.run.fpu_in_image = 1;
  vcpu_.cpu.PagingChanged();
  vcpu_.cpu.DebugRegistersChanged();
}

void TestMachine::RunInterpreted() {
  for (uint64_t steps = 0; !State().halted; ++steps) {
    if (steps == options_.most_steps)
      throw GuestRunsOn(fmt::format("the guest does not stop (eip {:08x})", State().eip));
    try {
      const StepResult step = StepInstruction(vcpu_.cpu);
      if (on_executed) on_executed(step.mnemonic);
      if (step.halted) State().halted = true;
      if (step.debug_trap) DeliverFault(vcpu_.cpu, {Vector::kDebug, std::nullopt});
    } catch (const GuestFault& fault) {
      DeliverFault(vcpu_.cpu, fault);
    }
    const bool interruptible = (State().eflags & eflags::kIf) && !State().interrupt_shadow;
    if (waiting_interrupt && interruptible) {
      DeliverExternalInterrupt(vcpu_.cpu, *std::exchange(waiting_interrupt, std::nullopt));
    }
  }
}

void TestMachine::RunTranslated() {
  constexpr uint64_t kWatchInterval = 200'000'000;
  const KickTimer watchdog(kWatchInterval);
  const auto start = ProcessorTime();
  for (;;) {
    engine_->SetInterruptWaiting(waiting_interrupt.has_value());
    switch (engine_->Run()) {
      case EngineStop::kHalted:
        if (!waiting_interrupt || !(State().eflags & eflags::kIf)) return;
        [[fallthrough]];
      case EngineStop::kInterruptible:
        engine_->DeliverInterrupt(*std::exchange(waiting_interrupt, std::nullopt));
        break;
      case EngineStop::kDebug:
        return;
      case EngineStop::kAttention:
        vcpu_.run.kick = 0;
        if (on_attention) on_attention(*this);
        if (ProcessorTime() - start > patience) {
          throw GuestRunsOn(fmt::format("the guest does not stop (eip {:08x})", State().eip));
        }
        break;
    }
  }
}

Outcome TestMachine::Run() {
  try {
    if (engine_) {
      RunTranslated();
      engine_->StoreFpu();  // what follows may use the host's FPU
    } else {
      RunInterpreted();
    }
  } catch (const TripleFault&) {
    const CpuState& s = State();
    throw GuestShutDown(fmt::format("triple fault (eip {:08x}, esp {:08x}, cr2 {:08x})", s.eip, s.gpr[kEsp], s.cr2));
  }
  return Collect();
}

Outcome TestMachine::Collect() {
  const CpuState& s = State();
  Outcome out{.cr2 = s.cr2, .gpr = s.gpr, .eip = s.eip, .eflags = s.eflags, .fxsave = s.fxsave, .ymm_high = s.ymm_high};
  for (unsigned i = 0; i < kSegCount; ++i) out.selectors[i] = s.seg[i].selector;
  if (s.tr.selector != guest::kMainTask) {
    out.vector = (s.tr.selector - guest::kFirstHandlerTask) / 8u;
    if (s.gpr[kEsp] == kernel_base_ + guest::kHandlerStackTop - 4)
      out.error_code = Get<uint32_t>(guest::kHandlerStackTop - 4);
    out.eip = Get<uint32_t>(guest::kTss + tss::kEip);
    out.eflags = Get<uint32_t>(guest::kTss + tss::kEflags);
    for (unsigned i = 0; i < kGprCount; ++i) out.gpr[i] = Get<uint32_t>(guest::kTss + tss::kGpr + 4 * i);
    for (unsigned i = 0; i < kSegCount; ++i) out.selectors[i] = Get<uint16_t>(guest::kTss + tss::kSegments + 4 * i);
  }
  out.eflags &= ~eflags::kRf;
  const auto copy = [this](uint32_t frames, uint32_t bytes) {
    const uint8_t* from = physical_.Flat(GuestPhysical(frames));
    return std::vector<uint8_t>(from, from + bytes);
  };
  out.data = copy(guest::kDataFrames, guest::kDataBytes);
  out.stack = copy(guest::kStackFrames, guest::kStackBytes);
  if (kernel_base_) {
    out.top = copy(guest::kTopFrames, guest::kTopBytes);
    out.code = copy(code_frame_, guest::kCodeBytes);
  }
  return out;
}

void TestMachine::CheckInvariants() {
  mmu_.CheckInvariants();
  translator_->CheckInvariants();
}

}  // namespace ring3
