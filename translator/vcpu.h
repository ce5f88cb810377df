// What translated code and the stubs address through r12, and the contract of entering and leaving translated code:
// RunContext goes in, ExitReason comes out.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "monitor/cpu/cpu.h"
#include "shadowmmu/soft_tlb.h"
#include "translator/callouts.h"
#include "translator/thunks.h"

namespace ring3 {

/// Why translated code was left. cpu.state.eip names the instruction to go on with in every case.
enum class ExitReason : uint32_t {
  kInterrupted,   // a host signal asked for attention
  kLinkMiss,      // a direct branch whose target is not linked yet: exit_site says which; EIP is not filled in
  kIndirectMiss,  // an indirect branch whose target is not in the branch table
  kInterpret,     // the next instruction is for the monitor
  kDemoted,       // the next instruction is at a site that was left to the monitor because its accesses kept faulting
  kEmulate,       // the next instruction's access goes where no window reaches (MMIO, a wrap at 4 GiB)
  kGuestFault,    // fault: what the host CPU reported, as a guest exception
  kCodeWrite,     // the next instruction writes to a page that holds translations: exit_physical
  kStale,         // a self-checking block's source has changed
  kCount,
};

/// Lets translated code see that loading a data segment register would change nothing: the selector it holds, and the
/// descriptor that selector still names. Both are kept negated, because a sum leaves the flags alone.
struct SegmentCheck {
  static constexpr uint32_t kNever = 0x10000;  // no selector sums to 0 with it
  uint64_t negated_descriptor = 0;             // in
  uint32_t negated_selector = kNever;          // in
  uint32_t descriptor_address = 0;             // in: guest-linear
};

/// A segment whose accesses are checked inline. offset + size + negated_size is negative, with a high half of -1, where
/// an access lies within the limit; that half is the index from `outside` of what to add the offset to.
struct SegmentAccess {
  int64_t negated_size = 0;           // in: -(limit + 1)
  uint64_t inside = 0;                // in: host address of offset 0
  std::array<uint64_t, 2> outside{};  // in: the guard above the window, where accesses go to the monitor
};

/// How far a string instruction moves its index registers, by log2 of the element's bytes and DF.
inline constexpr std::array<std::array<int32_t, 2>, 3> kStringSteps = {{{1, -1}, {2, -2}, {4, -4}}};

/// EFLAGS bits that stay in cpu.state while translated code runs; the others are in host_flags and interrupt_flag.
inline constexpr uint32_t kFlagsHeldInState =
    eflags::kIopl | eflags::kNt | eflags::kVm | eflags::kAc | eflags::kId | eflags::kVif | eflags::kVip;

/// Fields marked (in) are read by generated code, (out) are written by it or by the signal handlers.
struct RunContext {
  uint64_t host_rsp = 0;            // out: stack pointer inside the enter stub, where every leave returns to
  uint64_t return_rsp = 0;          // in, out: translated code's stack pointer (translator/return_stack.h); 0: unknown
  uint64_t return_empty = 0;        // in: the same where no call is remembered
  uint64_t window_base = 0;         // in: r14 and GS.base
  uint64_t branch_table = 0;        // in: r13
  uint64_t code_base = 0;           // in: r11
  uint64_t target = 0;              // in: where enter jumps to
  uint64_t exit_site = 0;           // out: kLinkMiss, the host address behind the exit's stub
  uint32_t exit_reason = 0;         // out
  uint32_t host_flags = 0;          // in, out: the flags in eflags::kHostHeld
  uint32_t interrupt_flag = 0;      // in, out: eflags::kIf or 0, the virtual IF
  uint32_t kick = 0;                // in: leave as soon as possible; set by signal handlers and cleared by the monitor
  uint32_t interrupts_waiting = 0;  // in: an interrupt waits for IF; STI and POPF leave when it is set
  std::array<SegmentCheck, kSegCount> segment_checks;
  std::array<SegmentAccess, kSegCount> segment_accesses;
  SegmentAccess branch_check;  // for near branches: `inside` is readable, whatever the target
  std::array<std::array<int32_t, 2>, 3> string_steps = kStringSteps;  // in
  // The guest's x87 and MMX state stays in the host's registers while the monitor runs, which uses SSE only.
  // in, out: all of the FPU, SSE and AVX state is in cpu.state; else it is in the host's x87 registers, and MXCSR, XMM
  // and YMM here.
  alignas(8) uint32_t fpu_in_image = 1;
  uint32_t avx = 0;    // in: XCR0.AVX, so the upper halves are kept, too; changes only while the state is in cpu.state
  uint32_t mxcsr = 0;  // in, out
  alignas(32) std::array<uint8_t, kVectorCount * kYmmBytes> ymm{};
  GuestFault fault{};           // out: kGuestFault
  GuestPhysical exit_physical;  // out: kCodeWrite
  uint64_t next_record = 0;     // in, out: where the next BlockRecord goes, in runs that record
  std::array<CalloutFunction, static_cast<unsigned>(Callout::kCount)> callouts{};  // in
  struct CalloutContext* callout_context = nullptr;                                // theirs
  struct SoftBudget* soft_budgets = nullptr;                                       // in: by number of the site
  uint64_t soft_scratch = 0;  // of inline soft accesses, with these
  SoftTlb soft_tlb;           // in
  ThunkCells thunk_cells;     // in: the translator's
};

struct Vcpu {
  RunContext run;
  Cpu cpu;

  /// EFLAGS while translated code runs, and callouts.
  uint32_t Flags() const { return cpu.state.eflags | run.host_flags | run.interrupt_flag | eflags::kReserved1; }
  void SetFlags(uint32_t value) {
    run.host_flags = value & eflags::kHostHeld;
    run.interrupt_flag = value & eflags::kIf;
    cpu.state.eflags = value & kFlagsHeldInState;
  }
};

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Winvalid-offsetof"  // Vcpu has no bases and no virtual functions
namespace vcpu_offset {
inline constexpr int kState = offsetof(Vcpu, cpu) + offsetof(Cpu, state);
constexpr int Run(size_t field) { return static_cast<int>(offsetof(Vcpu, run) + field); }
constexpr int State(size_t field) { return static_cast<int>(kState + field); }
inline constexpr int kHostRsp = Run(offsetof(RunContext, host_rsp));
inline constexpr int kReturnEmpty = Run(offsetof(RunContext, return_empty));
inline constexpr int kReturnRsp = Run(offsetof(RunContext, return_rsp));
inline constexpr int kWindowBase = Run(offsetof(RunContext, window_base));
inline constexpr int kBranchTable = Run(offsetof(RunContext, branch_table));
inline constexpr int kCodeBase = Run(offsetof(RunContext, code_base));
inline constexpr int kTarget = Run(offsetof(RunContext, target));
inline constexpr int kExitReason = Run(offsetof(RunContext, exit_reason));
inline constexpr int kExitSite = Run(offsetof(RunContext, exit_site));
inline constexpr int kHostFlags = Run(offsetof(RunContext, host_flags));
inline constexpr int kInterruptFlag = Run(offsetof(RunContext, interrupt_flag));
inline constexpr int kKick = Run(offsetof(RunContext, kick));
inline constexpr int kInterruptsWaiting = Run(offsetof(RunContext, interrupts_waiting));
inline constexpr int kFpuInImage = Run(offsetof(RunContext, fpu_in_image));
inline constexpr int kMxcsr = Run(offsetof(RunContext, mxcsr));
inline constexpr int kAvx = Run(offsetof(RunContext, avx));
inline constexpr int kYmm = Run(offsetof(RunContext, ymm));
inline constexpr int kCallouts = Run(offsetof(RunContext, callouts));
inline constexpr int kNextRecord = Run(offsetof(RunContext, next_record));
inline constexpr int kSoftScratch = Run(offsetof(RunContext, soft_scratch));
inline constexpr int kEip = State(offsetof(CpuState, eip));
inline constexpr int kEflags = State(offsetof(CpuState, eflags));
inline constexpr int kCr0 = State(offsetof(CpuState, cr0)), kCr2 = State(offsetof(CpuState, cr2)),
                     kCr3 = State(offsetof(CpuState, cr3)), kCr4 = State(offsetof(CpuState, cr4));
inline constexpr int kTscOffset = State(offsetof(CpuState, tsc_offset));
inline constexpr int kFxsave = State(offsetof(CpuState, fxsave));
inline constexpr int kYmmHigh = State(offsetof(CpuState, ymm_high));
constexpr int Register(unsigned gpr) { return State(offsetof(CpuState, gpr) + 4 * gpr); }
constexpr int Segment(Seg s) {
  return State(offsetof(CpuState, seg) + sizeof(SegmentRegister) * static_cast<unsigned>(s));
}
constexpr int Check(Seg s, size_t field) {
  return Run(offsetof(RunContext, segment_checks) + sizeof(SegmentCheck) * static_cast<unsigned>(s) + field);
}
/// A field of a SegmentAccess: of a data segment's, or of the check on branch targets.
constexpr int Access(Seg s, size_t field) {
  return Run(offsetof(RunContext, segment_accesses) + sizeof(SegmentAccess) * static_cast<unsigned>(s) + field);
}
constexpr int BranchCheck(size_t field) { return Run(offsetof(RunContext, branch_check) + field); }
constexpr int StringSteps(unsigned log2_bytes) {
  return Run(offsetof(RunContext, string_steps) + sizeof(kStringSteps[0]) * log2_bytes);
}
inline constexpr int kSoftBudgets = Run(offsetof(RunContext, soft_budgets));
constexpr int ThunkCell(unsigned index) { return Run(offsetof(RunContext, thunk_cells) + index * sizeof(uint32_t)); }
constexpr int SoftHalf(bool user) {
  return Run(offsetof(RunContext, soft_tlb) + offsetof(SoftTlb, halves) + sizeof(SoftTlb::Half) * user);
}
/// First of a half's SoftTlb::Pages.
constexpr int SoftPages(bool user, bool write) {
  return SoftHalf(user) + static_cast<int>(offsetof(SoftTlb::Half, negated_page) + sizeof(SoftTlb::Pages) * write);
}
constexpr int SoftToHost(bool user) { return SoftHalf(user) + static_cast<int>(offsetof(SoftTlb::Half, to_host)); }
constexpr int SegmentBase(Seg s) { return Segment(s) + static_cast<int>(offsetof(SegmentRegister, base)); }
constexpr int SegmentSelector(Seg s) { return Segment(s) + static_cast<int>(offsetof(SegmentRegister, selector)); }
}  // namespace vcpu_offset
#pragma GCC diagnostic pop

static_assert(offsetof(SegmentAccess, outside) == offsetof(SegmentAccess, inside) + 8);
static_assert(vcpu_offset::kAvx == vcpu_offset::kFpuInImage + 4 && vcpu_offset::kFpuInImage % 8 == 0,
              "the enter stub looks at both at once");
static_assert(vcpu_offset::kState % 64 == 0 && vcpu_offset::kFxsave % 16 == 0, "FXSAVE needs an aligned image");

}  // namespace ring3
