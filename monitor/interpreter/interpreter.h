// The slow path: executes any one guest instruction exactly, by the SDM. What translation does not cover comes here
// (16-bit code, segments that are not flat, MMIO operands, page-crossing oddities, system instructions).
#pragma once

#include <optional>

#include "monitor/cpu/cpu.h"

namespace ring3 {

/// What happened besides the state change; all faults are thrown as GuestFault with the state as before the instruction
/// (for REP string instructions: as after the last whole iteration).
struct StepResult {
  bool halted = false;          // HLT executed
  bool rep_unfinished = false;  // a REP instruction stopped early so that interrupts can be taken; EIP still names it
  /// The instruction ended with a debug trap (TF, a data or I/O breakpoint, a TSS's T bit): the state is that after
  /// it, cpu.state.pending_debug says what happened, and the caller delivers #DB at the new EIP before anything else.
  bool debug_trap = false;
  /// A waiting x87 or MMX instruction met a pending unmasked x87 error with CR0.NE clear: the processor asserts FERR#
  /// and waits. The instruction has not run (EIP still names it); the caller raises IRQ 13.
  bool x87_error_line = false;
  uint16_t mnemonic = 0;  // ZydisMnemonic of what was executed, for statistics
};

/// Executes the instruction at CS:EIP and advances EIP. Flags, FPU and SSE state are taken from and left in cpu.state.
/// Non-system instructions with a memory operand run natively on the host against a bounce buffer.
/// cpu.state.interrupt_shadow is left set only by STI, MOV SS and POP SS, debug_shadow only by the latter two. DF must
/// be clear in the host's flags.
StepResult StepInstruction(Cpu& cpu);
/// The same, but a fault that programs raise on purpose comes back instead of being thrown, which costs much more.
std::optional<GuestFault> TryStep(Cpu& cpu, StepResult& result);

}  // namespace ring3
