// A processor with memory, translator and signals but no devices, wired as the real machine is. Guest programs run
// until HLT or the first exception; what they left behind comes back as one value.
//
// Exceptions 0-31 go through task gates to tasks that halt, so that the interrupted state is saved in the main TSS
// whatever its ESP is, at any privilege. Tests that want handlers of their own set gates.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <vector>

#include "monitor/bt_engine.h"
#include "tests/translator/kick_timer.h"

namespace ring3 {

/// Guest-physical layout. The first 4 MiB are mapped identically, for the supervisor alone.
namespace guest {
inline constexpr uint32_t kRamBytes = 16u << 20;
inline constexpr uint32_t kHighKernel = 0x5C40'0000, kKernelBytes = 0x80000;  // an alternative place for what follows
inline constexpr uint32_t kLdt = 0x7000, kGdt = 0x8000, kTss = 0x9000, kIdt = 0xA000, kHandlers = 0xB000,
                          kHandlerTss = 0xC000, kHandlerStackTop = 0xF000;
inline constexpr uint32_t kPageDirectory = 0x10000, kFirstPageTable = 0x11000, kPageTablesEnd = 0x60000;
inline constexpr uint32_t kLowCode = 0x80000;  // for programs that run without paging
inline constexpr uint32_t kKernelStackTop = 0x78000;
inline constexpr uint32_t kDataFrames = 0x10'0000, kStackFrames = 0x11'0000, kTopFrames = 0x12'0000,
                          kScratchFrames = 0x20'0000,  // up to kFreeFrames: for the tests themselves
    kFreeFrames = 0x40'0000;

// Linear regions, the same as the oracle's. Around each lies nothing.
inline constexpr uint32_t kCode = 0x1000'0000, kCodeBytes = 2 * kPageSize;
inline constexpr uint32_t kData = 0x1001'0000, kDataBytes = 4 * kPageSize;
inline constexpr uint32_t kStack = 0x1002'0000, kStackBytes = 2 * kPageSize;
inline constexpr uint32_t kTop = 0xFFFF'F000, kTopBytes = kPageSize;  // only with the kernel at kHighKernel

// Selectors. CPL 3 has those that Linux gives its 32-bit programs, so that PUSH DS stores the same natively.
inline constexpr uint16_t kCode0 = 0x08, kData0 = 0x10, kMainTask = 0x18, kCode3 = 0x23, kData3 = 0x2B, kFs = 0x33,
                          kGs = 0x3B, kSmall = 0x43, kReadOnly = 0x4B, kCode16 = 0x50, kFirstHandlerTask = 0x80;
inline constexpr uint32_t kFsBase = kData + 0x1800, kGsBase = kData + 0x2800;
inline constexpr uint32_t kSmallBytes = 0x100;  // at kData

inline constexpr uint32_t kPresent = 1, kWritable = 2, kUser = 4;  // page entries
}  // namespace guest

/// A program's state when it stopped.
struct Outcome {
  std::optional<uint32_t> vector;  // nothing: it executed HLT
  uint32_t error_code = 0, cr2 = 0;
  std::array<uint32_t, kGprCount> gpr{};
  uint32_t eip = 0, eflags = 0;  // RF excepted
  std::array<uint16_t, kSegCount> selectors{};
  std::array<uint8_t, 512> fxsave{};
  std::array<uint8_t, kYmmHighBytes> ymm_high{};
  std::vector<uint8_t> data, stack;  // the linear regions
  std::vector<uint8_t> top, code;    // only with the kernel at kHighKernel
};

/// The guest did not stop in the time, or the number of steps, that it had.
struct GuestRunsOn : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct GuestShutDown : std::runtime_error {  // a triple fault
  using std::runtime_error::runtime_error;
};

struct TestMachineOptions {
  bool interpreter = false;  // the reference: no translator at all
  const char* model = "max";
  uint64_t most_steps = 50'000'000;  // of the interpreter
  CrashHandler crash = nullptr;      // for faults of the monitor's own; none: one line and an abort
  TranslatorOptions translator{.cache_bytes = 1u << 20};
  /// Where the kernel's own tables and stacks are seen, instead of the identity mapping of the first 4 MiB. With
  /// guest::kHighKernel hardly any address but those of the regions leads anywhere, as in the native runs.
  uint32_t kernel_base = 0;
};

class TestMachine {
 public:
  explicit TestMachine(TestMachineOptions options = {});
  ~TestMachine();
  TestMachine(const TestMachine&) = delete;

  /// Protected mode with flat 32-bit segments, AVX enabled where the model has it, FPU as after FNINIT, descriptor
  /// tables and TSSs as new. EIP kCode, ESP in the middle of the stack region. With paging the page tables stay as they
  /// are.
  void Reset(unsigned cpl, bool paging = true);

  /// Puts code at kCode + offset, the rest of the region being INT3, in frames that were not used for a long time:
  /// rewriting the same page would make the translator treat it as self-modifying. The region is read-only
  /// unless said otherwise.
  void LoadCode(std::span<const uint8_t> code, uint32_t offset, bool writable = false);
  /// Maps one page now, with INVLPG.
  void Map(uint32_t linear, uint32_t physical, uint32_t flags);
  void Unmap(uint32_t linear) { Map(linear, 0, 0); }
  /// Physical address of the entry that maps `linear`.
  uint32_t EntryAddress(uint32_t linear);
  /// An interrupt gate for a handler of the test's own at CPL 0; the CPL 3 -> 0 stack is kKernelStackTop.
  void SetGate(uint8_t vector, uint32_t eip, unsigned dpl);

  void Write(uint32_t physical, std::span<const uint8_t> bytes) { physical_.Write(GuestPhysical(physical), bytes); }
  template <class T>
  void Set(uint32_t physical, T value) {
    Write(physical, {reinterpret_cast<const uint8_t*>(&value), sizeof value});
  }
  template <class T>
  T Get(uint32_t physical) {
    T value;
    std::memcpy(&value, physical_.Flat(GuestPhysical(physical)), sizeof value);
    return value;
  }

  /// Runs until HLT. Throws GuestRunsOn when that takes longer than `patience`, or GuestShutDown.
  Outcome Run();
  /// Processor time after which a translated program is taken to run for ever.
#ifdef RING3_SANITIZED
  std::chrono::nanoseconds patience = std::chrono::seconds(60);
#else
  std::chrono::nanoseconds patience = std::chrono::seconds(10);
#endif
  /// Called whenever the engine comes back for attention, and for each deliverable interrupt.
  void (*on_attention)(TestMachine&) = nullptr;
  std::optional<uint8_t> waiting_interrupt;  // delivered once when IF allows
  /// Called by the interpreter with the mnemonic of each instruction that was executed.
  void (*on_executed)(uint16_t mnemonic) = nullptr;

  CpuState& State() { return vcpu_.cpu.state; }
  uint32_t& Reg(Gpr gpr) { return State().gpr[gpr]; }
  Cpu& GetCpu() { return vcpu_.cpu; }
  Vcpu& GetVcpu() { return vcpu_; }
  PhysicalMemory& Physical() { return physical_; }
  ShadowMmu& Mmu() { return mmu_; }
  Translator& GetTranslator() { return *translator_; }
  BtEngine& Engine() { return *engine_; }
  const SignalStats& Signals() const { return signals_->Stats(); }
  PortBus& Ports() { return ports_; }
  void CheckInvariants();

 private:
  void BuildTables();
  void BuildPaging();
  void RunTranslated();
  void RunInterpreted();
  Outcome Collect();

  const TestMachineOptions options_;
  const uint32_t kernel_base_;
  PhysicalMemory physical_{guest::kRamBytes};
  ShadowMmu mmu_;
  LinearMemory linear_{physical_};
  PortBus ports_;
  Vcpu vcpu_;
  std::unique_ptr<Translator> translator_;
  ExitTrace trace_;
  std::unique_ptr<BtEngine> engine_;
  std::unique_ptr<HostSignals> signals_;
  uint32_t next_frame_ = guest::kFreeFrames, code_frame_ = 0;
  uint32_t next_table_ = guest::kFirstPageTable;
};

}  // namespace ring3
