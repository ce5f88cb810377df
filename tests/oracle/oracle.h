// The real processor as a test oracle: runs 32-bit and 16-bit code natively in compatibility mode, in a process whose
// address space below 4 GiB holds nothing but what the test asks for, and reports the state at the first fault, trap or
// breakpoint.
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

/// A segment that a local descriptor table describes; privilege level 3, accessed (SDM 3A 3.4.5).
struct LdtEntry {
  /// Linux refuses conforming code segments unless they are marked not present.
  enum class Kind : uint8_t { kData, kExpandDown, kCode, kConformingCode };

  Kind kind = Kind::kData;
  bool big = true;         // D/B
  bool read_only = false;  // of data; of code: execute-only
  bool pages = false;      // G: the limit counts pages
  bool present = true;
  uint32_t base = 0;
  uint32_t limit = 0;  // 20 bits, as in the descriptor
  bool operator==(const LdtEntry&) const = default;
};

/// The selector of an entry of the LDT at privilege level 3.
constexpr uint16_t LdtSelector(unsigned index) { return static_cast<uint16_t>(index << 3 | 7); }

/// ES, CS, SS, DS, FS, GS: flat 32-bit segments of the host, FS and GS null.
inline constexpr std::array<uint16_t, 6> kHostSelectors = {0x2B, 0x23, 0x2B, 0x2B, 0, 0};

struct OracleState {
  std::array<uint32_t, 8> gpr{};  // SDM encoding order
  uint32_t eip = 0;
  uint32_t eflags = 0x202;                      // IF cannot be cleared; TF gives one instruction at a time
  alignas(64) std::array<uint8_t, 512> fxsave;  // FXSAVE image; initially as after FNINIT with default MXCSR
  std::array<uint8_t, 128> ymm_high{};          // upper halves of YMM0-YMM7, where the processor has AVX
  std::vector<OracleRegion> regions;
  std::vector<LdtEntry> ldt;
  std::array<uint16_t, 6> selectors = kHostSelectors;  // must be loadable

  OracleState();
};

/// State at the stop. RF is not reported; the FPU's pointers (FIP, FCS, FDP, FDS, FOP) are in the host's 64-bit layout.
struct OracleResult {
  OracleState state;
  uint32_t vector = 0;  // exception that ended the run: 3 for INT3 (EIP is after it), 1 for a single step
  uint32_t error_code = 0;
  uint32_t cr2 = 0;
  bool timed_out = false;  // no exception within a fifth of a second of processor time
};

/// Runs from state.eip until something traps. Code usually ends in INT3 (0xCC). Not reentrant, one thread at a time;
/// INT 80h and SYSENTER would reach the host's kernel and must not be run.
/// Throws std::runtime_error where a region cannot be mapped or a segment is refused.
OracleResult RunOracle(const OracleState& initial);

}  // namespace ring3
