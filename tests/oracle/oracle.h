// The real processor as a test oracle: runs 32-bit code natively in compatibility mode, in this process, and reports
// the state at the first fault, trap or breakpoint.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace ring3 {

/// Memory mapped (readable, executable, and writable unless said otherwise) at a fixed address under 4 GiB while the
/// oracle runs. Addresses are page-aligned, sizes are multiples of the page size, regions don't overlap.
struct OracleRegion {
  uint32_t address = 0;
  std::vector<uint8_t> bytes;
  bool writable = true;
};

/// Segments are flat: CS, SS, DS, ES with base 0 and limit 4 GiB at CPL 3; FS and GS must not be used or loaded.
struct OracleState {
  std::array<uint32_t, 8> gpr{};  // SDM encoding order
  uint32_t eip = 0;
  uint32_t eflags = 0x202;                      // IF cannot be cleared; TF gives one instruction at a time
  alignas(64) std::array<uint8_t, 512> fxsave;  // FXSAVE image; initially as after FNINIT with default MXCSR
  std::vector<OracleRegion> regions;

  OracleState();
};

/// State at the stop. RF is not reported; the FPU's pointers (FIP, FCS, FDP, FDS, FOP) are in the host's 64-bit layout.
struct OracleResult {
  OracleState state;
  uint32_t vector = 0;  // exception that ended the run: 3 for INT3 (EIP is after it), 1 for a single step
  uint32_t error_code = 0;
  uint32_t cr2 = 0;
  bool timed_out = false;  // no exception within a second
};

/// Runs from state.eip until something traps. Code usually ends in INT3 (0xCC). Not reentrant, one thread at a time;
/// INT 80h and SYSENTER would reach the host's kernel and must not be run.
/// Throws std::runtime_error where a region cannot be mapped.
OracleResult RunOracle(const OracleState& initial);

}  // namespace ring3
