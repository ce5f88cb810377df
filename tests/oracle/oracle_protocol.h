// What a test program and the process that asks the processor for it share: one piece of memory. A byte through a
// socket says that a request is ready, another one that the answer is.
#pragma once

#include <cstdint>

namespace ring3::oracle {

inline constexpr int kMemoryFd = 3, kSocketFd = 4;  // in the process
inline constexpr uint32_t kMaxRegions = 8, kMaxLdt = 32, kPageBytes = 4096;
inline constexpr uint32_t kPoolOffset = 2 * kPageBytes, kSharedBytes = 4u << 20;

struct Region {
  uint32_t address, bytes;
  uint32_t offset;  // in the shared memory
  uint32_t writable;
};

/// The layout of struct user_desc, see modify_ldt(2).
struct LdtWord {
  uint32_t number, base, limit, flags;
};
static_assert(sizeof(LdtWord) == 16);

struct Control {
  // The request.
  uint32_t layout, ldt_version;  // numbers of what follows them; regions and LDT are set up when they change
  uint32_t region_count, ldt_count;
  Region regions[kMaxRegions];
  LdtWord ldt[kMaxLdt];

  // Request and answer.
  uint32_t gpr[8], eip, eflags;
  uint16_t selectors[6];  // ES, CS, SS, DS, FS, GS
  alignas(16) uint8_t fxsave[512];
  uint8_t ymm_high[128];

  // The answer.
  uint32_t vector, error_code, cr2;
  uint32_t timed_out;
  uint32_t refused;  // errno of a mapping or descriptor that the kernel refuses, or 0
};
static_assert(sizeof(Control) <= kPoolOffset);

}  // namespace ring3::oracle
