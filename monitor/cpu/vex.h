// The VEX prefix (SDM 2A 2.3): taken apart as 32-bit code means it, put together as 64-bit code.
#pragma once

#include <Zydis/Zydis.h>

#include <cstdint>

namespace ring3 {

struct VexPrefix {
  static constexpr unsigned kMaxBytes = 3;
  uint8_t map = 1;   // 0F, 0F38, 0F3A
  uint8_t vvvv = 0;  // register number; 0 where there is no such operand
  uint8_t pp = 0;    // implied 66, F3, F2
  bool w = false, l = false;
  bool r = false, x = false, b = false;  // bit 3 of ModRM.reg, SIB.index, ModRM.rm or SIB.base

  /// Writes the shortest form to `out` and returns its length.
  unsigned Encode(uint8_t* out) const;
};

inline bool IsVex(const ZydisDecodedInstruction& insn) { return insn.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX; }

/// The fields in a decoded 32-bit VEX instruction. W is cleared where it means nothing in 32-bit code but 64-bit
/// operands in 64-bit code.
VexPrefix VexOf(const ZydisDecodedInstruction& insn, const ZydisDecodedOperand* operands);

/// Immediate byte that names a fourth register: bit 7 is ignored in 32-bit code, but not in 64-bit code.
inline constexpr uint8_t kRegisterImmediateMask = 0x7F;
bool HasRegisterImmediate(const ZydisDecodedInstruction& insn, const ZydisDecodedOperand* operands);

}  // namespace ring3
