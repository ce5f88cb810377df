// Delivery of interrupts and exceptions, and the returns from them (SDM 3A chapter 6, 2B INT/IRET, SYSENTER/SYSEXIT).
#pragma once

#include <cstdint>

#include "monitor/cpu/cpu.h"
#include "monitor/cpu/segments.h"

namespace ring3 {

enum class SoftwareInterrupt : uint8_t { kIntN, kInt3, kInto, kInt1 };

/// INT n, INT3, INTO, INT1: gate DPL checks, V86 rules. `return_eip` is the address of the next instruction.
/// Throws GuestFault when the gate may not be used; the state is then as before the instruction.
void RaiseSoftwareInterrupt(Cpu& cpu, uint8_t vector, SoftwareInterrupt kind, uint32_t return_eip);

/// Delivers a fault raised at the current EIP. Faults met on the way become double faults by the SDM's table 6-5;
/// throws TripleFault when that fails too. Sets CR2 for page faults, RF as the SDM says;
/// for #DB, DR6 gets the fault's bits and those of the traps that are pending.
void DeliverFault(Cpu& cpu, GuestFault fault);
/// Delivers a maskable interrupt between instructions; wakes a halted CPU. The caller has checked IF.
void DeliverExternalInterrupt(Cpu& cpu, uint8_t vector);
/// Delivers the NMI that state.nmi_pending stands for, which blocks others until IRET. The caller has seen NmiDue().
void DeliverNmi(Cpu& cpu);

/// IRET/IRETD, with task return, return to V86. Unblocks NMI even if it faults. EIP still names the IRET (a task return
/// saves the address after it).
void InterruptReturn(Cpu& cpu, OperandSize size);
void SystemEnter(Cpu& cpu);  // SYSENTER
void SystemExit(Cpu& cpu);   // SYSEXIT

/// Hardware task switch to the TSS named by `tss_selector` (SDM 3A 7.3). `return_eip` is saved in the old TSS.
enum class TaskSwitchSource : uint8_t { kJump, kCall, kInterrupt, kReturn };
void SwitchTask(Cpu& cpu, uint16_t tss_selector, TaskSwitchSource source, uint32_t return_eip);

}  // namespace ring3
