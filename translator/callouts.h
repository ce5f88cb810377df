// Callouts: translated code jumps to a stub, which has the monitor execute one instruction and goes straight on with
// the code at the new EIP. Anything unusual is declined, and then executed on the slow path as if there were no
// callout.
#pragma once

#include <cstdint>

namespace ring3 {

struct Vcpu;

enum class Callout : uint8_t {
  // Light: compiled for general registers only, so the guest's x87 and SSE state stays where it is.
  kInterrupt,        // INT n; operand: the vector
  kInterruptReturn,  // IRETD
  kSystemEnter,
  kSystemExit,
  kCpuid,
  kClearTaskSwitched,
  kLoadSegment,  // operand: LoadSegmentOperand; value: the selector
  kSoftAccess,   // operand: SoftAccessOperand; value: guest-linear, but for strings
  // Any C++; XMM0-7 or YMM0-7 are saved around it.
  kIn,              // operand: bytes; value: the port
  kOut,             // the same
  kMoveToControl,   // operand: the register's number; value: what is moved
  kInvalidatePage,  // value: guest-linear
  kInterpret,       // the slow path's own step; operand: StepOperand
  kCount,
};

constexpr bool IsLight(Callout callout) { return callout < Callout::kIn; }

/// What a callout knows from translation time, as translated code hands it over.
struct CalloutArguments {
  Callout callout;
  uint8_t length;    // of the instruction
  uint16_t operand;  // see above

  static constexpr unsigned kCalloutShift = 24, kLengthShift = 16;
  constexpr uint32_t Pack() const {
    return static_cast<uint32_t>(callout) << kCalloutShift | uint32_t{length} << kLengthShift | operand;
  }
  static constexpr CalloutArguments Unpack(uint32_t packed) {
    return {static_cast<Callout>(packed >> kCalloutShift), static_cast<uint8_t>(packed >> kLengthShift),
            static_cast<uint16_t>(packed)};
  }
};

/// Callout::kLoadSegment
struct LoadSegmentOperand {
  uint8_t segment, popped_bytes;
  constexpr uint16_t Pack() const { return static_cast<uint16_t>(segment | popped_bytes << 8); }
  static constexpr LoadSegmentOperand Unpack(uint16_t packed) {
    return {static_cast<uint8_t>(packed), static_cast<uint8_t>(packed >> 8)};
  }
};

/// Callout::kSoftAccess
struct SoftAccessOperand {
  uint16_t site;  // number of the SoftSite
  bool second;    // of two accesses
  static constexpr unsigned kMostSites = 1u << 12;
  constexpr uint16_t Pack() const { return static_cast<uint16_t>(site | second << 12); }
  static constexpr SoftAccessOperand Unpack(uint16_t packed) {
    return {static_cast<uint16_t>(packed & (kMostSites - 1)), (packed >> 12) != 0};
  }
};

/// Callout::kInterpret
struct StepOperand {
  bool demoted = false;
  bool plain = false;  // without a fault, only EIP, general registers, flags and FPU state change beside memory
  static constexpr unsigned kCount = 4;
  constexpr uint16_t Pack() const { return static_cast<uint16_t>(demoted | plain << 1); }
  static constexpr StepOperand Unpack(uint16_t packed) { return {(packed & 1) != 0, (packed & 2) != 0}; }
};

enum class CalloutResult : uint32_t {
  kDeclined,  // nothing has changed: go on with Callout::kInterpret
  kDone,      // go on at run.target, with run.window_base and run.branch_table
  kLeave,     // done, but the monitor must look: leave with run.exit_reason
  kStep,      // light ones: nothing has changed, and the demoted instruction is plain: go on with Callout::kInterpret
};

/// Called by the stubs with the guest's integer state in the vCPU, EIP at the instruction.
using CalloutFunction = CalloutResult (*)(Vcpu* vcpu, uint32_t packed_arguments, uint32_t value);

}  // namespace ring3
