// The slow path: executes any one guest instruction exactly, by the SDM. What translation does not cover comes here
// (16-bit code, segments that are not flat, MMIO operands, page-crossing oddities, system instructions).
#pragma once

#include "monitor/cpu/cpu.h"

namespace ring3 {

/// What happened besides the state change; all faults are thrown as GuestFault with the state as before the instruction
/// (for REP string instructions: as after the last whole iteration).
struct StepResult {
  bool halted = false;          // HLT executed
  bool rep_unfinished = false;  // a REP instruction stopped early so that interrupts can be taken; EIP still names it
};

/// Executes the instruction at CS:EIP and advances EIP. Flags, FPU and SSE state are taken from and left in cpu.state.
/// Non-system instructions with a memory operand run natively on the host against a bounce buffer.
StepResult StepInstruction(Cpu& cpu);

}  // namespace ring3
