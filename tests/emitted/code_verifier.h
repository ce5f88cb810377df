// What translated code may be, as an independent check: which host instructions, which memory operands, where jumps may
// lead, and that the registers it rests on hold what docs/architecture.md says. It shares nothing with the emitter.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "translator/translator.h"

namespace ring3 {

/// A stretch of host addresses.
struct HostRange {
  uint64_t first = 0, bytes = 0;
  bool Holds(uint64_t address, uint64_t size) const {
    return address - first < bytes && size <= bytes - (address - first);
  }
};

/// One block as it lies in memory, and what it is allowed beyond the rules that hold for all.
struct CodeUnderTest {
  std::span<const uint8_t> code;
  uint64_t host_address = 0;
  std::span<const RecoveryEntry> recovery;
  std::function<bool(uint64_t)> may_jump_to;    // outside the block: stubs, other blocks
  std::function<bool(uint32_t)> may_resume_at;  // guest EIPs that the recovery map may name
  uint64_t link_miss = 0;                       // the stub that exits call, which does not come back
  uint32_t return_check = 0;                    // where return sites look, from the cache's base; 0: nowhere
  HostRange source;                             // readable: what a self-check compares with
  bool counts = false;                          // begins with an execution counter, wherever that is
};

/// Everything that is wrong, a line each with the host instruction; empty when nothing is.
std::string VerifyCode(const CodeUnderTest& block);

/// The same for a block in the cache, linked or not, with its limits of size.
std::string VerifyBlock(const Translator& translator, const PhysicalMemory& memory, BlockId block, bool counts = false);

}  // namespace ring3
