// The mode bits a block is compiled under. Two blocks with different modes are different translations of the same code.
#pragma once

#include <cstdint>

#include "monitor/cpu/cpu_state.h"

namespace ring3 {

/// What translated code may assume of a data segment.
enum class SegmentShape : uint8_t {
  kFlat,   // base 0, limit 4 GiB, readable and writable: offsets are linear addresses
  kBased,  // the same with another base: one add
  kOther,  // limits, rights or a null selector to check: the monitor executes the instruction
};

class BlockMode {
 public:
  static BlockMode Of(const CpuState& state);

  /// Whether code in this mode is translated at all; the rest (real mode, V86, 16-bit code, based CS, single-step)
  /// runs one instruction at a time.
  bool Translatable() const { return !(bits_ & kUntranslatable); }
  bool Ring0() const { return bits_ & kRing0; }
  bool User() const { return bits_ & kUser; }
  bool Stack32() const { return bits_ & kStack32; }
  /// CR0.EM or TS set, or (SSE) CR4.OSFXSR clear: such instructions fault, so the monitor executes them; also while
  /// IGNNE# is asserted, which it ends.
  bool X87Traps() const { return bits_ & kX87Traps; }
  bool SseTraps() const { return bits_ & kSseTraps; }
  /// RDTSC is allowed: CPL 0 or CR4.TSD clear (SDM 2B, RDTSC).
  bool TscAllowed() const { return bits_ & kTscAllowed; }
  SegmentShape Shape(Seg s) const {
    return static_cast<SegmentShape>((bits_ >> (kShapeShift + 2 * static_cast<unsigned>(s))) & 3);
  }

  uint32_t Bits() const { return bits_; }
  bool operator==(const BlockMode&) const = default;

 private:
  static constexpr uint32_t kUntranslatable = 1, kRing0 = 2, kUser = 4, kStack32 = 8, kX87Traps = 16, kSseTraps = 32,
                            kTscAllowed = 64;
  static constexpr unsigned kShapeShift = 8;

  uint32_t bits_ = kUntranslatable;
};

}  // namespace ring3
