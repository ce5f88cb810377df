// The guest's architectural processor state. Generated code addresses a part of it through r12 (see
// translator/vcpu.h); everything else in the monitor works on it as plain data.
#pragma once

#include <array>
#include <cstdint>

#include "monitor/cpu/xstate.h"

namespace ring3 {

/// General registers in the SDM's encoding order.
enum Gpr : uint8_t { kEax, kEcx, kEdx, kEbx, kEsp, kEbp, kEsi, kEdi, kGprCount };

/// Segment registers in the SDM's encoding order.
enum class Seg : uint8_t { kEs, kCs, kSs, kDs, kFs, kGs };
inline constexpr unsigned kSegCount = 6;

/// EFLAGS bits, SDM 1 figure 3-8.
namespace eflags {
inline constexpr uint32_t kCf = 1u << 0, kReserved1 = 1u << 1, kPf = 1u << 2, kAf = 1u << 4, kZf = 1u << 6,
                          kSf = 1u << 7, kTf = 1u << 8, kIf = 1u << 9, kDf = 1u << 10, kOf = 1u << 11, kIopl = 3u << 12,
                          kNt = 1u << 14, kRf = 1u << 16, kVm = 1u << 17, kAc = 1u << 18, kVif = 1u << 19,
                          kVip = 1u << 20, kId = 1u << 21;
inline constexpr unsigned kIoplShift = 12;
/// Every defined bit but kReserved1.
inline constexpr uint32_t kDefined = 0x003F'7FD5;
/// The bits that live in the host's own flags while translated code runs.
inline constexpr uint32_t kHostHeld = kCf | kPf | kAf | kZf | kSf | kDf | kOf;
}  // namespace eflags

namespace cr0 {
inline constexpr uint32_t kPe = 1u << 0, kMp = 1u << 1, kEm = 1u << 2, kTs = 1u << 3, kEt = 1u << 4, kNe = 1u << 5,
                          kWp = 1u << 16, kAm = 1u << 18, kNw = 1u << 29, kCd = 1u << 30, kPg = 1u << 31;
}
namespace cr4 {
inline constexpr uint32_t kVme = 1u << 0, kPvi = 1u << 1, kTsd = 1u << 2, kDe = 1u << 3, kPse = 1u << 4, kPae = 1u << 5,
                          kMce = 1u << 6, kPge = 1u << 7, kPce = 1u << 8, kOsfxsr = 1u << 9, kOsxmmexcpt = 1u << 10,
                          kOsxsave = 1u << 18;
}
namespace efer {
inline constexpr uint64_t kNxe = 1u << 11;
}
/// DR6 and DR7 bits, SDM 3B figure 17-1.
namespace dr6 {
inline constexpr uint32_t kWritable = 0xE00F, kFixedOnes = 0xFFFF'0FF0, kBreakpoints = 0xF, kBd = 1u << 13,
                          kBs = 1u << 14, kBt = 1u << 15;
}
namespace dr7 {
inline constexpr uint32_t kWritable = 0xFFFF'23FF, kFixedOnes = 1u << 10, kLocalEnables = 0x155, kGd = 1u << 13;
}

namespace debugctl {
inline constexpr uint64_t kBtf = 1u << 1;  // TF traps after branches only (SDM 3B 17.4.3)
}

/// Descriptor attributes: bits 8..23 of a descriptor's high dword, shifted down by 8 (SDM 3A figure 3-8).
namespace segattr {
inline constexpr uint16_t kTypeMask = 0xF, kAccessed = 1, kWritable = 2 /* data */, kReadable = 2 /* code */,
                          kExpandDown = 4 /* data */, kConforming = 4 /* code */, kCode = 8, kS = 1u << 4,
                          kDplMask = 3u << 5, kPresent = 1u << 7, kAvl = 1u << 12, kDb = 1u << 14, kG = 1u << 15;
inline constexpr unsigned kDplShift = 5;
}  // namespace segattr

/// A segment register with its hidden part (SDM 3A 3.4.3). A null selector in DS/ES/FS/GS has kPresent clear.
struct SegmentRegister {
  uint16_t selector = 0;
  uint16_t attributes = 0;  // segattr
  uint32_t base = 0;        // guest-linear
  uint32_t limit = 0;       // bytes, last valid offset, granularity already applied

  unsigned Dpl() const { return (attributes & segattr::kDplMask) >> segattr::kDplShift; }
  bool Present() const { return attributes & segattr::kPresent; }
  bool IsCode() const { return attributes & segattr::kCode; }
  bool Big() const { return attributes & segattr::kDb; }
  bool operator==(const SegmentRegister&) const = default;
};

/// GDTR or IDTR.
struct TableRegister {
  uint32_t base = 0;  // guest-linear
  uint16_t limit = 0;
  bool operator==(const TableRegister&) const = default;
};

/// MTRRs (SDM 3A 11.11): storage, as there are no caches whose policy they could set.
struct MemoryTypeRanges {
  uint64_t default_type = 0;
  std::array<uint64_t, 11> fixed{};
  std::array<uint64_t, 16> variable{};  // base and mask of eight ranges in turn
  bool operator==(const MemoryTypeRanges&) const = default;
};

inline constexpr unsigned kXmmBytes = 16, kYmmBytes = 32, kVectorCount = 8;
inline constexpr unsigned kYmmHighBytes = kVectorCount * kXmmBytes;

struct CpuState {
  std::array<uint32_t, kGprCount> gpr{};
  uint32_t eip = 0;
  uint32_t eflags = eflags::kReserved1;  // the whole architectural value when the guest isn't running

  std::array<SegmentRegister, kSegCount> seg{};
  SegmentRegister ldtr{}, tr{};
  TableRegister gdtr{}, idtr{};

  uint32_t cr0 = 0, cr2 = 0, cr3 = 0, cr4 = 0;
  uint32_t xcr0 = xstate::kX87;
  std::array<uint64_t, 4> pdpte{};  // loaded with CR3 under PAE (SDM 3A 4.4.1)
  std::array<uint32_t, 8> dr{};
  uint64_t efer = 0;
  uint32_t sysenter_cs = 0, sysenter_esp = 0, sysenter_eip = 0;
  uint64_t tsc_offset = 0;  // guest TSC = host TSC + tsc_offset
  uint64_t pat = 0x0007040600070406;
  uint64_t apic_base = 0;
  uint64_t misc_enable = 0;
  uint64_t debug_control = 0;  // IA32_DEBUGCTL
  MemoryTypeRanges mtrr{};
  uint64_t machine_check_status = 0;  // IA32_MCG_STATUS

  uint8_t cpl = 0;
  bool halted = false;
  /// Interrupts are held off until one more instruction has run (after STI, MOV SS, POP SS).
  bool interrupt_shadow = false;
  /// The same for debug traps, instruction breakpoints and NMI, after MOV SS and POP SS (SDM 3A 6.8.3).
  bool debug_shadow = false;
  /// IGNNE#: waiting x87 instructions disregard a pending error while CR0.NE is clear (SDM 3A 2.5, NE). Asserted by the
  /// board until the error is gone.
  bool ignore_x87_error = false;
  bool nmi_pending = false;
  bool nmi_blocked = false;  // from the delivery of an NMI until IRET (SDM 3A 6.7.1)
  /// DR6 bits of the debug traps to be taken as one #DB before the next instruction, debug_shadow permitting.
  uint32_t pending_debug = 0;

  /// x87/MMX/SSE state in FXSAVE layout (SDM 1, table 10-2, 32-bit form).
  alignas(64) std::array<uint8_t, 512> fxsave{};
  /// Upper halves of YMM0-YMM7, kept whatever XCR0 says.
  std::array<uint8_t, kYmmHighBytes> ymm_high{};

  SegmentRegister& Segment(Seg s) { return seg[static_cast<unsigned>(s)]; }
  const SegmentRegister& Segment(Seg s) const { return seg[static_cast<unsigned>(s)]; }
  bool ProtectedMode() const { return cr0 & cr0::kPe; }
  bool V86() const { return eflags & eflags::kVm; }
  unsigned Iopl() const { return (eflags & eflags::kIopl) >> eflags::kIoplShift; }
  bool Paging() const { return cr0 & cr0::kPg; }
  /// Pushes and pops use ESP rather than SP.
  bool Stack32() const { return Segment(Seg::kSs).Big(); }
  /// A #DB has to be delivered before the next instruction.
  bool DebugTrapDue() const { return pending_debug != 0 && !debug_shadow; }
  bool NmiDue() const { return nmi_pending && !nmi_blocked && !debug_shadow; }
  /// AVX instructions do not fault with #UD for want of system support (SDM 1, 14.3).
  bool AvxEnabled() const { return (cr4 & cr4::kOsxsave) && (xcr0 & xstate::kAvxNeeds) == xstate::kAvxNeeds; }
  bool Code32() const { return Segment(Seg::kCs).Big(); }

  bool operator==(const CpuState&) const = default;

  /// Processor state after RESET (SDM 3A table 9-1).
  void Reset();
};

}  // namespace ring3
