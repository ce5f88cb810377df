// The decoder as a guest's processor has it.
#pragma once

#include <Zydis/Zydis.h>

#include <initializer_list>

#include "monitor/cpu/cpu_model.h"

namespace ring3 {

/// What decoding depends on besides the bytes: the code size, and which extensions give a meaning of their own to
/// encodings that older processors execute as something else.
struct DecoderKind {
  static constexpr unsigned kCount = 8;
  bool code32 = true;
  bool lzcnt = false, tzcnt = false;  // else BSR and BSF, whatever the prefix

  static DecoderKind Of(const CpuModel& model, bool code32) {
    return {.code32 = code32,
            .lzcnt = (model.extended_ecx & cpuid_extended_ecx::kLzcnt) != 0,
            .tzcnt = (model.features7_ebx & cpuid7_ebx::kBmi1) != 0};
  }
  unsigned Number() const { return (code32 ? 1 : 0) | (lzcnt ? 2 : 0) | (tzcnt ? 4 : 0); }
  bool operator==(const DecoderKind&) const = default;
};

/// A decoder for 16- or 32-bit code that leaves out the extensions which reuse encodings that mean something else, or
/// nothing, on every CPU model we offer.
inline ZydisDecoder MakeGuestDecoder(const DecoderKind& kind) {
  ZydisDecoder decoder;
  ZydisDecoderInit(&decoder, kind.code32 ? ZYDIS_MACHINE_MODE_LEGACY_32 : ZYDIS_MACHINE_MODE_LEGACY_16,
                   kind.code32 ? ZYDIS_STACK_WIDTH_32 : ZYDIS_STACK_WIDTH_16);
  for (auto mode :
       {ZYDIS_DECODER_MODE_MPX, ZYDIS_DECODER_MODE_CET, ZYDIS_DECODER_MODE_WBNOINVD, ZYDIS_DECODER_MODE_CLDEMOTE}) {
    ZydisDecoderEnableMode(&decoder, mode, ZYAN_FALSE);
  }
  ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_LZCNT, kind.lzcnt);
  ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_TZCNT, kind.tzcnt);
  return decoder;
}

}  // namespace ring3
