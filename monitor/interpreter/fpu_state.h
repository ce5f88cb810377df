// The guest's x87/MMX/SSE state as an FXSAVE image (SDM 1, table 10-2): fields, checks before use, instruction
// pointers.
#pragma once

#include <span>

#include "monitor/interpreter/step.h"

namespace ring3 {

namespace fxsave {
inline constexpr unsigned kFcw = 0, kFsw = 2, kFtw = 4, kFop = 6, kFip = 8, kFcs = 12, kFdp = 16, kFds = 20,
                          kMxcsr = 24, kMxcsrMask = 28, kSt0 = 32, kXmm0 = 160, kXmmEnd = 288, kSlot = 16;
}

/// x87 status and control bits (SDM 1, 8.1.3 and 8.1.5).
namespace x87 {
inline constexpr uint16_t kInvalid = 1, kDenormal = 2, kZeroDivide = 4, kOverflow = 8, kUnderflow = 16, kPrecision = 32,
                          kExceptions = 0x3F, kSummary = 1u << 7, kBusy = 1u << 15, kTopMask = 7u << 11;
inline constexpr unsigned kTopShift = 11;
}  // namespace x87

/// MXCSR (SDM 1, 10.2.3).
namespace mxcsr {
inline constexpr uint32_t kInvalid = 1, kDenormal = 2, kZeroDivide = 4, kOverflow = 8, kUnderflow = 16, kPrecision = 32,
                          kFlags = 0x3F, kDenormalsAreZero = 1u << 6, kMasks = 0x1F80, kUnderflowMask = 1u << 11,
                          kFlushToZero = 1u << 15, kSupported = 0xFFFF;
inline constexpr unsigned kMaskShift = 7;
/// Detected before the operation is carried out; if one of them is unmasked, none of the others is reported.
inline constexpr uint32_t kPreComputation = kInvalid | kDenormal | kZeroDivide;
}  // namespace mxcsr

inline constexpr unsigned kMmxBytes = 8;

template <class T>
T LoadFx(const CpuState& state, unsigned offset) {
  T value;
  __builtin_memcpy(&value, &state.fxsave[offset], sizeof value);
  return value;
}
template <class T>
void StoreFx(CpuState& state, unsigned offset, T value) {
  __builtin_memcpy(&state.fxsave[offset], &value, sizeof value);
}

const uint8_t* XmmRegister(const CpuState& state, unsigned number);
/// Where MMn lies depends on TOP, because the image is ordered from ST0.
const uint8_t* MmxRegister(const CpuState& state, unsigned number);
/// What every MMX instruction but EMMS does: TOP := 0, all registers valid.
void EnterMmx(CpuState& state);

/// XMMn or, with 32 bytes, YMMn.
void ReadVector(const CpuState& state, unsigned number, std::span<uint8_t> out);
/// Writes the low bytes and clears the rest of YMMn.
void WriteVector(CpuState& state, unsigned number, std::span<const uint8_t> value);

/// What FXRSTOR and XRSTOR load of an image in FXSAVE's format.
void LoadX87Part(CpuState& state, const uint8_t* image);
void LoadXmmPart(CpuState& state, const uint8_t* image);

/// CR0.EM, TS, MP, NE, CR4.OSFXSR and OSXSAVE, and XCR0 rules: throws #NM, #UD or #MF. False when a pending x87 error
/// goes to the FERR# line instead (CR0.NE clear): the instruction must not run now.
bool CheckFpuUsable(Step& s);

/// The unmasked x87 exceptions pending in the image.
uint16_t PendingX87(const CpuState& state);

/// While IGNNE# is asserted: takes pending errors out of the image for one instruction, so that the host doesn't meet
/// them. What it returns is for RestoreIgnoredErrors.
uint16_t HideIgnoredErrors(const Step& s);
void RestoreIgnoredErrors(const Step& s, uint16_t hidden);

/// Last x87 instruction and operand.
struct X87Pointers {
  uint16_t fop = 0, fcs = 0, fds = 0;
  uint32_t fip = 0, fdp = 0;
};
X87Pointers LoadPointers(const CpuState& state);
void StorePointers(CpuState& state, const X87Pointers& pointers);

/// The pointer fields of an FSTENV/FSAVE image, whose layout depends on operand size and mode (SDM 1, figures
/// 8-9..8-12).
void WriteEnvironmentPointers(const Step& s, uint8_t* environment, const X87Pointers& pointers);
X87Pointers ReadEnvironmentPointers(const Step& s, const uint8_t* environment);

}  // namespace ring3
