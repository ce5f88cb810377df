// System registers: control, debug and model-specific registers, EFLAGS as POPF and IRET may write it, port permission.
#pragma once

#include <array>
#include <cstdint>

#include "monitor/cpu/cpu.h"
#include "monitor/cpu/segments.h"

namespace ring3 {

uint32_t ReadControl(const Cpu& cpu, unsigned number);         // CPL checked; throws #UD for CR1, CR5-7
void WriteControl(Cpu& cpu, unsigned number, uint32_t value);  // throws #GP(0) for bad values; flushes as needed
uint32_t ReadDebug(const Cpu& cpu, unsigned number);
void WriteDebug(Cpu& cpu, unsigned number, uint32_t value);
uint64_t ReadMsr(const Cpu& cpu, uint32_t index);  // throws #GP(0) for MSRs we don't have; CPL checked
void WriteMsr(Cpu& cpu, uint32_t index, uint64_t value);
void LoadMachineStatusWord(Cpu& cpu, uint16_t value);  // LMSW
void ClearTaskSwitched(Cpu& cpu);                      // CLTS
uint64_t ReadTimeStampCounter(const Cpu& cpu);         // RDTSC: CR4.TSD checked

/// EFLAGS after POPF of `value` with this operand size at the current CPL/IOPL/VM. In V86 with IOPL < 3 VIF stands for
/// IF with CR4.VME and 16-bit operands; #GP(0) without.
uint32_t PopFlagsValue(const Cpu& cpu, uint32_t value, OperandSize size);
/// What PUSHF pushes. V86 as above.
uint32_t PushFlagsValue(const Cpu& cpu, OperandSize size);
void SetInterruptFlag(Cpu& cpu, bool enable);  // STI (with its shadow) and CLI; VIF where VME or PVI say so

/// Throws #GP(0) unless CR4.VME lets an instruction of this operand size use VIF, in V86 mode with IOPL < 3.
void RequireV86Extensions(const CpuState& state, OperandSize size);
/// EFLAGS after POPF or IRET of a 16-bit image there. Throws #GP(0) for TF, and for IF while VIP is set.
uint32_t V86FlagsWithVirtualIf(const CpuState& state, uint32_t image);
/// The 16-bit image of EFLAGS that PUSHF and INT n push there: IF is VIF, IOPL is 3.
uint32_t V86ImageWithVirtualIf(const CpuState& state);

/// Throws #GP(0) unless CPL <= IOPL or the TSS's I/O bitmap allows all `size` bytes (SDM 1, 19.5).
void CheckPortAccess(Cpu& cpu, uint16_t port, unsigned size);
/// An access to these ports was made: I/O breakpoints on them trap after the instruction or iteration.
inline void NotePortAccess(Cpu& cpu, uint16_t port, unsigned size) {
  cpu.state.pending_debug |= cpu.breakpoints.OnPorts(port, size);
}
/// The PDPTEs at `cr3`, checked. Throws #GP(0) when a present one has reserved bits set (SDM 3A 4.4.1).
std::array<uint64_t, 4> ReadPdptes(const Cpu& cpu, uint32_t cr3);
/// Throws #GP(0) unless CPL is 0.
void RequireRing0(const Cpu& cpu);

}  // namespace ring3
