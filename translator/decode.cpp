#include "translator/decode.h"

#include <cstring>

#include "monitor/cpu/guest_decoder.h"
#include "monitor/cpu/instruction_features.h"

namespace ring3 {

const ZydisDecodedOperand* GuestInstruction::MemoryOperand() const {
  for (unsigned i = 0; i < info.operand_count_visible; ++i) {
    if (operands[i].type == ZYDIS_OPERAND_TYPE_MEMORY) return &operands[i];
  }
  return nullptr;
}

bool GuestInstruction::ReachesBeyondOperand() const {
  switch (info.mnemonic) {
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTC:
      return operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER;
    default:
      return false;
  }
}

bool GuestInstruction::StacksSegment() const {
  const bool stacks = info.mnemonic == ZYDIS_MNEMONIC_PUSH || info.mnemonic == ZYDIS_MNEMONIC_POP;
  return stacks && operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
         ZydisRegisterGetClass(operands[0].reg.value) == ZYDIS_REGCLASS_SEGMENT;
}

bool GuestInstruction::WritesMemory() const {
  for (unsigned i = 0; i < info.operand_count; ++i) {
    if (operands[i].type == ZYDIS_OPERAND_TYPE_MEMORY && (operands[i].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
      return true;
  }
  return false;
}

uint32_t GuestInstruction::BranchTarget() const {
  uint32_t target = NextEip() + static_cast<uint32_t>(info.raw.imm[0].value.s);
  return info.operand_width == 16 ? target & 0xFFFF : target;
}

Decoder::Decoder(const CpuModel& model, bool code32)
    : model_(model), decoder_(MakeGuestDecoder(DecoderKind::Of(model, code32))) {}

DecodeStatus Decoder::Decode(std::span<const uint8_t> bytes, uint32_t eip, GuestInstruction& out) const {
  ZyanStatus status = ZydisDecoderDecodeFull(&decoder_, bytes.data(), bytes.size(), &out.info, out.operands);
  if (status == ZYDIS_STATUS_NO_MORE_DATA) return DecodeStatus::kTruncated;
  if (!ZYAN_SUCCESS(status)) return DecodeStatus::kInvalid;
  out.eip = eip;
  out.length = out.info.length;
  out.row = Available(model_, NeedOf(out.info)) ? FindRow(out.info) : InstructionRow{};
  std::memcpy(out.bytes, bytes.data(), out.length);
  return DecodeStatus::kOk;
}

}  // namespace ring3
