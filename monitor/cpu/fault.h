// A guest exception on its way to delivery, and the errors that end a run.
#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>

namespace ring3 {

/// Exception vectors, SDM 3A table 6-1.
enum class Vector : uint8_t {
  kDivideError = 0,
  kDebug = 1,
  kNmi = 2,
  kBreakpoint = 3,
  kOverflow = 4,
  kBoundRange = 5,
  kInvalidOpcode = 6,
  kDeviceNotAvailable = 7,
  kDoubleFault = 8,
  kInvalidTss = 10,
  kSegmentNotPresent = 11,
  kStackFault = 12,
  kGeneralProtection = 13,
  kPageFault = 14,
  kX87FloatingPoint = 16,
  kAlignmentCheck = 17,
  kSimdFloatingPoint = 19,
};

/// Thrown by anything that executes on the guest's behalf; caught where the instruction began, delivered there.
struct GuestFault {
  Vector vector;
  std::optional<uint32_t> error_code;  // absent for vectors that push none
  uint32_t cr2 = 0;                    // guest-linear; meaningful for kPageFault only
  uint32_t dr6 = 0;                    // bits that the delivery of kDebug sets in DR6
};

/// Bad input or a host that cannot run us: one line for the user, exit code 2.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The guest shut its processor down (a fault while delivering a double fault, SDM 3A 6.15).
struct TripleFault {};

}  // namespace ring3
