// Registers, memory and immediates as instruction operands.
#pragma once

#include <span>

#include "monitor/interpreter/step.h"

namespace ring3 {

using Operand = ZydisDecodedOperand;

/// Number (0-7) of the 32-bit register that `reg` is or is part of; kGprCount for anything else.
unsigned GprIndexOf(ZydisRegister reg);
/// General registers of 8, 16 or 32 bits; parts are merged into the whole on a write.
uint32_t ReadGpr(const CpuState& state, ZydisRegister reg);
void WriteGpr(CpuState& state, ZydisRegister reg, uint32_t value);

/// Implicit register operands: the low `bytes` (1, 2 or 4) of a general register.
uint32_t ReadLow(const CpuState& state, Gpr gpr, unsigned bytes);
void WriteLow(CpuState& state, Gpr gpr, unsigned bytes, uint32_t value);

inline Seg SegOf(ZydisRegister reg) { return static_cast<Seg>(reg - ZYDIS_REGISTER_ES); }

/// base + index * scale + displacement, cut to the address size.
uint32_t EffectiveAddress(const Step& s, const Operand& op);
/// Guest-linear address of `bytes` at `offset` in `seg`. Throws #GP(0), #SS(0), and #AC(0) where alignment is checked:
/// to `bytes`, a power of two, unless said otherwise.
GuestLinear DataLinear(const Step& s, Seg seg, uint32_t offset, unsigned bytes, AccessType type);
GuestLinear DataLinear(const Step& s, Seg seg, uint32_t offset, unsigned bytes, AccessType type, unsigned alignment);
/// The same for a decoded memory operand.
GuestLinear MemoryLinear(const Step& s, const Operand& op, unsigned bytes, AccessType type);

/// 1, 2 or 4 bytes of guest memory at the current privilege.
uint32_t ReadMemory(Cpu& cpu, GuestLinear address, unsigned bytes);
void WriteMemory(Cpu& cpu, GuestLinear address, unsigned bytes, uint32_t value);

/// An operand of up to 32 bits: register, memory or immediate. Memory is accessed at the operand's size.
uint32_t ReadOperand(Step& s, const Operand& op);
void WriteOperand(Step& s, const Operand& op, uint32_t value);
/// Memory or register as a 16-bit source, whatever the operand size says (selectors).
uint16_t ReadWordOperand(Step& s, const Operand& op);
/// A system word as SLDT, STR, SMSW and MOV from a segment register store it: 16 bits to memory, zero-extended to
/// a 32-bit register.
void WriteWordOperand(Step& s, const Operand& op, uint32_t value);

}  // namespace ring3
