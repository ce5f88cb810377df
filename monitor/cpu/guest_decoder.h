// The decoder as a guest's processor has it.
#pragma once

#include <Zydis/Zydis.h>

#include <initializer_list>

namespace ring3 {

/// A decoder for 16- or 32-bit code that leaves out the extensions which reuse encodings that mean something else, or
/// nothing, on every CPU model we offer.
inline ZydisDecoder MakeGuestDecoder(bool code32) {
  ZydisDecoder decoder;
  ZydisDecoderInit(&decoder, code32 ? ZYDIS_MACHINE_MODE_LEGACY_32 : ZYDIS_MACHINE_MODE_LEGACY_16,
                   code32 ? ZYDIS_STACK_WIDTH_32 : ZYDIS_STACK_WIDTH_16);
  for (auto mode : {ZYDIS_DECODER_MODE_MPX, ZYDIS_DECODER_MODE_CET, ZYDIS_DECODER_MODE_LZCNT, ZYDIS_DECODER_MODE_TZCNT,
                    ZYDIS_DECODER_MODE_WBNOINVD, ZYDIS_DECODER_MODE_CLDEMOTE}) {
    ZydisDecoderEnableMode(&decoder, mode, ZYAN_FALSE);
  }
  return decoder;
}

}  // namespace ring3
