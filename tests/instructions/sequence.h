// Random programs made of items that can be left out one by one, so that a failure can be shrunk.
#pragma once

#include <functional>
#include <vector>

#include "tests/instructions/noise.h"
#include "tests/translator/program.h"

namespace ring3 {

/// An instruction, or some that only make sense together.
struct SequenceItem {
  /// Where an address of another item goes into the bytes.
  struct Reference {
    enum class Kind : uint8_t { kRelative, kOffset, kLinear };  // to the end of the field; EIP; in a flat data segment
    Kind kind;
    uint8_t at, bytes;    // of the field
    size_t target;        // item
    uint32_t addend = 0;  // bytes into it
  };
  Bytes bytes;
  std::vector<Reference> references;
};

struct Sequence {
  Program program;  // all but the code
  std::vector<SequenceItem> items;

  /// The program with its code laid out; behind it INT3.
  Program Assembled() const;
  /// Without items [first, first + count); references to them go to what follows.
  Sequence Without(size_t first, size_t count) const;
};

/// Straight code of all unprivileged instructions with valid and wild operands, forward branches, bounded loops, calls,
/// returns, indirect jumps, string instructions, stack frames, consumers of flags, and in some programs stores into
/// code that runs later or again. 32-bit flat, 32-bit with bases and limits, or 16-bit.
Sequence MakeSequence(uint64_t seed);

/// The smallest part of a sequence for which `fails` still holds.
Sequence Shrink(Sequence sequence, const std::function<bool(const Program&)>& fails);

}  // namespace ring3
