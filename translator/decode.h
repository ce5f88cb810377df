// Guest bytes in, decoded and classified instructions out.
#pragma once

#include <Zydis/Zydis.h>

#include <cstdint>
#include <span>
#include <vector>

#include "monitor/cpu/cpu_model.h"
#include "translator/instruction_table.h"

namespace ring3 {

/// One decoded guest instruction of a block.
struct GuestInstruction {
  uint32_t eip = 0;
  uint8_t length = 0;  // bytes
  InstructionRow row;
  uint8_t bytes[ZYDIS_MAX_INSTRUCTION_LENGTH];
  ZydisDecodedInstruction info;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];

  uint32_t NextEip() const { return eip + length; }
  /// The explicit memory operand, or nullptr.
  const ZydisDecodedOperand* MemoryOperand() const;
  bool Is16BitAddress() const { return info.address_width == 16; }
  bool WritesMemory() const;
  /// PUSH and POP of a segment register.
  bool StacksSegment() const;
  /// BT and its kin with a bit offset in a register.
  bool ReachesBeyondOperand() const;
  bool IsNearBranch() const {
    return info.meta.branch_type == ZYDIS_BRANCH_TYPE_NEAR || info.meta.branch_type == ZYDIS_BRANCH_TYPE_SHORT;
  }
  bool IsDirectBranch() const { return operands[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE; }
  /// Target of a direct relative branch, cut to 16 bits where the operand size says so.
  uint32_t BranchTarget() const;
};

enum class DecodeStatus : uint8_t {
  kOk,
  kInvalid,    // not an instruction: #UD is the monitor's to raise
  kTruncated,  // more bytes are needed than there are: the instruction crosses into the next page
};

/// Decodes code of one default size as one CPU model does. An instruction that the model lacks is left to the monitor,
/// which faults.
class Decoder {
 public:
  Decoder(const CpuModel& model, bool code32);
  DecodeStatus Decode(std::span<const uint8_t> bytes, uint32_t eip, GuestInstruction& out) const;

 private:
  const CpuModel& model_;
  ZydisDecoder decoder_;
};

}  // namespace ring3
