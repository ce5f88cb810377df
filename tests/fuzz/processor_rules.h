// What holds of a processor's state between any two instructions, whatever they are (SDM 3A chapters 2, 3, 5, 20).
#pragma once

#include <string>

#include "monitor/cpu/cpu.h"

namespace ring3::fuzz {

/// What may have been left behind earlier, by which rules do not hold any more.
struct Leftovers {
  bool from_real_mode = false;  // all segment registers
  bool fast_call = false;       // data segment registers, which SYSENTER (from V86 mode, too) and SYSEXIT ignore
};

/// What is wrong with the state, or nothing.
std::string BrokenRule(const Cpu& cpu, const Leftovers& left);

}  // namespace ring3::fuzz
