// Runs one instruction in the interpreter and on the real processor from the same state and compares everything.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tests/interpreter/machine.h"
#include "tests/oracle/oracle.h"

namespace ring3 {

/// One instruction and the state before it. Memory: Machine's code, data and stack regions at CPL 3, flat.
struct Trial {
  std::vector<uint8_t> code;
  std::array<uint32_t, kGprCount> gpr{};
  uint32_t eflags = eflags::kReserved1 | eflags::kIf;
  std::array<uint8_t, 512> fxsave{};
  std::array<uint8_t, kYmmHighBytes> ymm_high{};
  uint32_t seed = 0;  // contents of the data and stack regions
  /// Flags not compared; by default those the decoder calls undefined.
  std::optional<uint32_t> ignored_flags;
};

/// Registers that point into the data region, registers' worth of noise elsewhere, valid FPU contents; all from `seed`.
Trial MakeTrial(std::vector<uint8_t> code, uint32_t seed);

/// What differs, with everything needed to reproduce; empty when nothing does.
std::string Compare(Machine& machine, const Trial& trial);

}  // namespace ring3
