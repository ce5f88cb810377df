// Guest memory operands as host addressing forms. In the order of preference that measurement gave: d(r15) and d(rbp)
// for the stack, d(r14,reg) where the displacement cannot leave the reservation around the window, gs + 67h for the
// rest.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "monitor/cpu/cpu_state.h"
#include "monitor/cpu/vex.h"
#include "translator/decode.h"

namespace ring3 {

/// A ModRM memory operand in 64-bit encoding, without its reg field.
struct HostOperand {
  bool address32 = false;  // 67h: the effective address is cut to 32 bits
  bool gs = false;         // 65h: the window's base is added
  bool rex_x = false, rex_b = false;
  uint8_t mod = 0, rm = 0;
  bool has_sib = false;
  uint8_t sib = 0;
  uint8_t displacement_bytes = 0;  // 0, 1 or 4
  int32_t displacement = 0;
};

/// An instruction in 64-bit encoding, short of REX, which follows from its fields.
struct HostEncoding {
  std::span<const uint8_t> prefixes, opcode, immediate;
  bool has_modrm = true;
  bool wide = false;             // REX.W
  uint8_t reg = 0;               // host register number in ModRM.reg, or opcode extension
  HostOperand operand;           // ModRM.rm
  bool opcode_rex_b = false;     // a register in the opcode is r8-r15
  std::optional<VexPrefix> vex;  // instead of mandatory prefixes, escape bytes and REX

  uint8_t Rex() const {
    return static_cast<uint8_t>((wide ? 8 : 0) | (reg >= 8 ? 4 : 0) | (operand.rex_x ? 2 : 0) |
                                (operand.rex_b || opcode_rex_b ? 1 : 0));
  }
};

inline constexpr uint8_t kNoRegister = 0xFF;

/// [base + index * scale + displacement] over host register numbers; either may be kNoRegister. Without both the
/// address is the sign-extended displacement.
HostOperand EncodeOperand(uint8_t base, uint8_t index, uint8_t scale, int32_t displacement);

/// Guest address arithmetic as it stands in the instruction.
struct GuestAddress {
  uint8_t base = kNoRegister, index = kNoRegister;  // guest register numbers
  uint8_t scale = 1;
  int32_t displacement = 0;
};
GuestAddress AddressOf(const ZydisDecodedOperand& memory);
Seg SegmentOf(const ZydisDecodedOperand& memory);

/// Not so with a displacement that is rather the address of a table in the upper half than a small step back.
bool StaysNear(int32_t displacement);

/// base + displacement alone; the index of a gather is a vector.
GuestAddress WithoutIndex(GuestAddress address);

/// The operand for a flat segment. Is RBP plain EBP, or window + EBP?
HostOperand EncodeFlat(const GuestAddress& address, bool plain_frame);
/// The same by gs + 67h alone: slower, but free of REX bits unless the base is ESP.
HostOperand EncodeFlatThroughSegment(const GuestAddress& address);
/// A gather's operand: a base (host register number) and a vector index, each sum cut to 32 bits.
HostOperand EncodeVectorIndex(uint8_t base, const ZydisDecodedOperand& memory, int32_t displacement);
/// For LEA and address computation: the same sum over host registers, right in its low 32 bits.
HostOperand EncodeSum(const GuestAddress& address);

}  // namespace ring3
