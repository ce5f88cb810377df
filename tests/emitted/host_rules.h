// The rules for single host instructions: which ones translated code may contain, and which memory they may touch.
#pragma once

#include <Zydis/Zydis.h>

#include <optional>
#include <string>

#include "tests/emitted/host_values.h"

namespace ring3 {

struct HostInstruction {
  uint32_t offset = 0;
  uint64_t address = 0;
  ZydisDecodedInstruction info;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];

  bool Pushes() const { return info.meta.category == ZYDIS_CATEGORY_PUSH; }
  bool Pops() const { return info.meta.category == ZYDIS_CATEGORY_POP; }
  bool Calls() const { return info.meta.category == ZYDIS_CATEGORY_CALL; }
  bool Returns() const { return info.meta.category == ZYDIS_CATEGORY_RET; }
  bool IsString() const { return info.meta.category == ZYDIS_CATEGORY_STRINGOP; }
  bool IsBranch() const {
    return info.meta.category == ZYDIS_CATEGORY_COND_BR || info.meta.category == ZYDIS_CATEGORY_UNCOND_BR || Calls() ||
           Returns();
  }
};

inline constexpr unsigned kNotGeneral = 16;
/// 0-15 for any part of a general register, else kNotGeneral.
unsigned GeneralNumber(ZydisRegister reg);

/// Why this instruction may not stand in translated code at all, or nothing.
std::optional<std::string> Forbidden(const HostInstruction& insn);

/// What a permitted memory operand reaches.
enum class Reaches : uint8_t { kNothing, kGuestMemory, kVcpu, kBranchTable, kHostStack, kAbsolute };

struct MemoryVerdict {
  Reaches reaches = Reaches::kNothing;
  uint64_t address = 0;  // kAbsolute
  std::string problem;   // not permitted
};
MemoryVerdict JudgeMemory(const HostInstruction& insn, const ZydisDecodedOperand& operand, const HostState& state);

/// What a 64-bit load of this operand, which may be made, leaves in a register.
HostValue Loaded(const ZydisDecodedOperand& op, const HostState& state);

}  // namespace ring3
