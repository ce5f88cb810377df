// Listings: a block's guest and host code side by side, each guest instruction with its class letter.
#pragma once

#include <cstdio>
#include <span>
#include <string>

#include "shadowmmu/physical_memory.h"
#include "translator/code_cache.h"
#include "translator/decode.h"

namespace ring3 {

/// One line per guest instruction, its host instructions beside and below it.
void DumpBlock(FILE* out, const Decoder& decoder, const CodeCache& cache, const Block& block,
               const PhysicalMemory& memory);

enum class CodeSize : uint8_t { k16, k32, kHost };

/// Text of one instruction in Intel syntax.
std::string Disassemble(std::span<const uint8_t> bytes, uint64_t address, CodeSize size, unsigned& length);

}  // namespace ring3
