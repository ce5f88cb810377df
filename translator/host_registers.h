// Which host register holds what while translated code runs (the enter/leave contract; docs/architecture.md).
#pragma once

#include <asmjit/x86.h>

#include <cstdint>

#include "monitor/cpu/cpu_state.h"

namespace ring3::host {

using asmjit::x86::Gp;

/// Host register number of a guest general register. ESP is r15 (biased by the window's base, as rbp is); the host's
/// own stack pointer stays a host stack pointer.
constexpr uint8_t NumberOf(unsigned guest_gpr) { return guest_gpr == kEsp ? 15 : static_cast<uint8_t>(guest_gpr); }

inline Gp Full(unsigned guest_gpr) { return asmjit::x86::gpq(NumberOf(guest_gpr)); }
inline Gp Low32(unsigned guest_gpr) { return asmjit::x86::gpd(NumberOf(guest_gpr)); }
inline Gp Low16(unsigned guest_gpr) { return asmjit::x86::gpw(NumberOf(guest_gpr)); }

/// A guest register at an operand size of 2 or 4 bytes.
inline Gp Sized(unsigned guest_gpr, unsigned bytes) { return bytes == 2 ? Gp(Low16(guest_gpr)) : Gp(Low32(guest_gpr)); }
inline Gp SizedScratch(unsigned bytes) { return bytes == 2 ? Gp(asmjit::x86::r8w) : Gp(asmjit::x86::r8d); }

/// r8-r10 are scratch, r11 the code cache's base, r12 the vCPU, r13 the branch table.
inline constexpr uint8_t kScratch = 8, kWindow = 14, kStack = 15;

}  // namespace ring3::host
