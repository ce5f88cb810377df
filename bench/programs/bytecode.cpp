// An interpreter of a stack machine: a jump through a table for each instruction.
#include "programs.h"

namespace programs {
namespace {

enum Op : uint8_t {
  kPush,
  kAdd,
  kXor,
  kMultiply,
  kDuplicate,
  kSwap,
  kShift,
  kLoad,
  kStore,
  kDecrement,
  kJumpNonzero,
  kStop
};

// x = 1; for (i = rounds; i; --i) x = ((x * 5 + i) ^ (x >> 7)), on a stack and two variables.
constexpr uint8_t kProgram[] = {kLoad,  0, kPush,      5, kMultiply,    kLoad,      1,     kAdd,
                                kLoad,  0, kShift,     7, kXor,         kDuplicate, kSwap, kAdd,
                                kStore, 0, kDecrement, 1, kJumpNonzero, 1,          0,     kStop};

uint32_t Interpret(const uint8_t* program, uint32_t rounds) {
  static const void* const kLabels[] = {&&push,  &&add,  &&exclusive, &&multiply,  &&duplicate,    &&swap,
                                        &&shift, &&load, &&store,     &&decrement, &&jump_nonzero, &&stop};
  uint32_t stack[16], *top = stack, variables[2] = {1, rounds};
  const uint8_t* at = program;
#define NEXT goto* kLabels[*at++]
  NEXT;
push:
  *++top = *at++;
  NEXT;
add:
  --top, top[0] += top[1];
  NEXT;
exclusive:
  --top, top[0] ^= top[1];
  NEXT;
multiply:
  --top, top[0] *= top[1];
  NEXT;
duplicate:
  ++top, top[0] = top[-1];
  NEXT;
swap : {
  const uint32_t held = top[0];
  top[0] = top[-1];
  top[-1] = held;
  NEXT;
}
shift:
  *top >>= *at++;
  NEXT;
load:
  *++top = variables[*at++];
  NEXT;
store:
  variables[*at++] = *top--;
  NEXT;
decrement:
  --variables[*at++];
  NEXT;
jump_nonzero:
  at = variables[at[0]] != 0 ? program + at[1] : at + 2;
  NEXT;
stop:
#undef NEXT
  return variables[0];
}

}  // namespace

uint32_t Bytecode(uint32_t size) { return Interpret(kProgram, size); }

}  // namespace programs
