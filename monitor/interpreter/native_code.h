// Turns a guest instruction into a host function: load the guest's registers, run the instruction re-encoded for 64-bit
// mode with its memory operand redirected to a buffer, store the registers.
#pragma once

#include <cstddef>
#include <cstdint>

#include "monitor/interpreter/step.h"

namespace ring3 {

/// Passed to native code; the code addresses it by the offsets below.
struct NativeFrame {
  uint32_t gpr[kGprCount];  // in and out
  uint64_t flags;           // in and out; the arithmetic flags alone on the way in
  uint8_t* fpu;             // FXSAVE image, loaded and stored by instructions that use the FPU or SSE
  uint8_t* ymm_high;        // upper halves of YMM0-YMM7, the same for AVX
  uint8_t* memory;          // stands for the memory operand
  uint32_t host_mxcsr;      // saved here around FPU instructions
  uint16_t host_fcw;
};

/// Fixed-size slots of executable memory, one per cached instruction.
class NativeCodeSlots {
 public:
  /// Throws UsageError where the host gives no executable memory.
  explicit NativeCodeSlots(unsigned count);
  ~NativeCodeSlots();
  NativeCodeSlots(const NativeCodeSlots&) = delete;
  NativeCodeSlots& operator=(const NativeCodeSlots&) = delete;

  /// Generates code for `d` in `slot`.
  NativeEntry Assemble(unsigned slot, const Decoded& d);

 private:
  unsigned count_;
  uint8_t* base_;
};

/// The code for `d`, assembled on first use. `d` must come from FetchInstruction.
NativeEntry NativeCodeOf(Decoded& d);

}  // namespace ring3
