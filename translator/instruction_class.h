// How an instruction is translated. One letter each, for dumps and statistics.
#pragma once

#include <cstdint>
#include <string_view>

namespace ring3 {

enum class InstructionClass : uint8_t {
  kIdentical,  // the guest's own bytes, with prefixes and registers adjusted
  kJump,       // jmp, jcc, loop, jecxz with a direct target
  kIndirect,   // jmp r/m
  kCall,       // near call, direct and indirect
  kReturn,     // near ret
  kStack,      // push, pop, leave: expansions on the biased stack pointer
  kString,     // movs, stos, lods, scas, cmps, with and without rep
  kSegment,    // reads of segment registers
  kFlags,      // cli, sti, pushf, popf: virtual interrupt flag
  kTimeStamp,  // rdtsc
  kCallout,    // the monitor executes it without translated code being left
  kInterpret,  // leaves to the monitor, which executes it exactly
  kCount,
};

struct ClassName {
  char letter;
  std::string_view name;
};

constexpr ClassName NameOf(InstructionClass c) {
  constexpr ClassName kNames[] = {{'I', "identical"}, {'J', "jump"},       {'N', "indirect"}, {'C', "call"},
                                  {'R', "return"},    {'P', "stack"},      {'S', "string"},   {'G', "segment"},
                                  {'F', "flags"},     {'T', "time-stamp"}, {'O', "callout"},
                                  {'M', "interpret"}};
  static_assert(std::size(kNames) == static_cast<unsigned>(InstructionClass::kCount));
  return kNames[static_cast<unsigned>(c)];
}

/// State that must hold for the FPU and SIMD units before an instruction may run; a block is compiled under the answer.
enum class Unit : uint8_t { kNone, kX87, kMmx, kSse, kAvx };

}  // namespace ring3
