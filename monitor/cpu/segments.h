// Segmentation: loading segment registers with all the checks, and far control transfers (SDM 3A chapters 3, 5, 7).
// Every function leaves the state untouched when it throws GuestFault, memory already written excepted. One exception,
// which is the architecture's: a task switch that faults after its point of no return leaves the new task's state
// (SDM 3A 7.3), and the fault belongs to the new task.
#pragma once

#include <cstdint>
#include <optional>

#include "monitor/cpu/cpu.h"

namespace ring3 {

/// Operand size of an instruction, in bytes.
enum class OperandSize : uint8_t { k16 = 2, k32 = 4 };

/// Guest-linear address of `offset` in segment `s` for an access of `bytes`, after the limit, type and null checks.
/// Throws #GP(0), or #SS(0) for SS.
GuestLinear CheckedLinear(const Cpu& cpu, Seg s, uint32_t offset, uint32_t bytes, AccessType type);

/// MOV/POP/Lxs to a data segment register or SS (never CS). Real mode and V86 included. The interrupt shadow of MOV SS
/// and POP SS is the caller's to set.
void LoadSegment(Cpu& cpu, Seg s, uint16_t selector);
/// LLDT and LTR; like LAR, LSL, VERR and VERW below they throw #UD in real and V86 mode. CPL is checked.
void LoadLdt(Cpu& cpu, uint16_t selector);
void LoadTaskRegister(Cpu& cpu, uint16_t selector);

/// Far transfers set CS, EIP and CPL (and the stack, and the task) as the SDM's pseudo-code says. `return_eip` is the
/// address of the next instruction.
void FarJump(Cpu& cpu, uint16_t selector, uint32_t offset, OperandSize size, uint32_t return_eip);
void FarCall(Cpu& cpu, uint16_t selector, uint32_t offset, OperandSize size, uint32_t return_eip);
void FarReturn(Cpu& cpu, OperandSize size, uint16_t pop_bytes);

/// LAR, LSL: the result when the selector may be seen (ZF := 1), nothing otherwise (ZF := 0). VERR, VERW: ZF.
std::optional<uint32_t> LoadAccessRights(Cpu& cpu, uint16_t selector);
std::optional<uint32_t> LoadSegmentLimit(Cpu& cpu, uint16_t selector);
bool VerifyRead(Cpu& cpu, uint16_t selector);
bool VerifyWrite(Cpu& cpu, uint16_t selector);

/// Stack accesses at the current stack size; ESP (or SP) moves only when the access succeeds. Checks SS.
void Push(Cpu& cpu, uint32_t value, OperandSize size);
uint32_t Pop(Cpu& cpu, OperandSize size);

}  // namespace ring3
