// The mode bits a block is compiled under. Two blocks with different modes are different translations of the same code.
#pragma once

#include <cstdint>

#include "monitor/cpu/cpu_state.h"
#include "shadowmmu/address.h"

namespace ring3 {

/// What translated code may assume of a segment that it accesses data in.
enum class SegmentShape : uint8_t {
  kFlat,      // base 0, limit 4 GiB, readable and writable: offsets are linear addresses
  kBased,     // the same with another base: one add
  kLimited,   // readable and writable up to its limit: checked inline
  kReadable,  // the same without writing
  kOther,     // expand-down, unreadable or null: the monitor executes the instruction
};

/// The part of a code segment that a block's addresses and branches depend on.
struct CodeRange {
  uint32_t base = 0;             // guest-linear
  uint32_t limit = 0xFFFF'FFFF;  // last valid EIP
  bool operator==(const CodeRange&) const = default;
};

class BlockMode {
 public:
  static BlockMode Of(const CpuState& state);
  /// The same, for less, where this was the mode before and of the segment registers only these may be others.
  BlockMode After(const CpuState& state, Seg changed, Seg also_changed) const;

  /// Whether code in this mode is translated at all; the rest (single-step, alignment checks) runs one instruction at a
  /// time.
  bool Translatable() const { return !(bits_ & kUntranslatable); }
  /// Default operand and address size 16 (CS.D clear).
  bool Code16() const { return bits_ & kCode16; }
  /// Real or V86 mode: a selector is a base in paragraphs.
  bool Paragraphs() const { return bits_ & kParagraphs; }
  const CodeRange& Code() const { return code_; }
  GuestLinear Linear(uint32_t eip) const { return GuestLinear(code_.base + eip); }
  bool Ring0() const { return bits_ & kRing0; }
  bool User() const { return bits_ & kUser; }
  bool Stack32() const { return bits_ & kStack32; }
  /// CR0.EM or TS set, or (SSE) CR4.OSFXSR clear: such instructions fault, so the monitor executes them; also while
  /// IGNNE# is asserted, which it ends.
  bool X87Traps() const { return bits_ & kX87Traps; }
  bool SseTraps() const { return bits_ & kSseTraps; }
  /// CR0.TS set, CR4.OSXSAVE clear, or XCR0 without SSE and AVX state.
  bool AvxTraps() const { return !(bits_ & kAvxRuns); }
  /// RDTSC is allowed: CPL 0 or CR4.TSD clear (SDM 2B, RDTSC).
  bool TscAllowed() const { return bits_ & kTscAllowed; }
  SegmentShape Shape(Seg s) const { return static_cast<SegmentShape>((bits_ >> ShiftOf(s)) & kShapeMask); }

  /// Whether any segment has fields that are checked inline (SegmentAccess).
  bool ChecksLimits() const {
    constexpr uint32_t kEachSecondBit = 0222222;  // of kLimited and kReadable, and of no other shape
    static_assert(kSegCount == 6 && kShapeBits == 3);
    return (bits_ & kEachSecondBit << kShapeShift) || code_.limit != 0xFFFF'FFFF;
  }

  uint32_t Bits() const { return bits_; }
  uint64_t Hash() const;
  bool operator==(const BlockMode&) const = default;

 private:
  static constexpr uint32_t kUntranslatable = 1, kRing0 = 2, kUser = 4, kStack32 = 8, kX87Traps = 16, kSseTraps = 32,
                            kTscAllowed = 64, kCode16 = 128, kParagraphs = 256, kAvxRuns = 512;
  static constexpr unsigned kShapeShift = 12, kShapeBits = 3, kShapeMask = 7;
  static unsigned ShiftOf(Seg s) { return kShapeShift + kShapeBits * static_cast<unsigned>(s); }
  static uint32_t BitsWithoutShapes(const CpuState& state);

  uint32_t bits_ = kUntranslatable;
  CodeRange code_;
};

}  // namespace ring3
