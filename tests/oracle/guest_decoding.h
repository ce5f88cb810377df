// Guest code as the manuals have it, newer extensions included: what tests ask about an encoding.
#pragma once

#include <Zydis/Zydis.h>

#include <optional>
#include <span>

namespace ring3 {

struct GuestDecoding {
  ZydisDecodedInstruction insn;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
};

/// The instruction that `code` begins with, if there is one.
inline std::optional<GuestDecoding> DecodeGuestCode(std::span<const uint8_t> code) {
  static const ZydisDecoder decoder = [] {
    ZydisDecoder d;
    ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
    return d;
  }();
  std::optional<GuestDecoding> decoding(std::in_place);
  if (ZYAN_FAILED(ZydisDecoderDecodeFull(&decoder, code.data(), code.size(), &decoding->insn, decoding->operands))) {
    decoding.reset();
  }
  return decoding;
}

}  // namespace ring3
