#include "translator/thunks.h"

#include "monitor/cpu/cpu_state.h"

namespace ring3 {

std::optional<unsigned> ThunkRegister(std::span<const uint8_t> code) {
  constexpr uint8_t kMov = 0x8B, kFromMemory = 0x04, kStackPointer = 0x24, kRet = 0xC3;
  constexpr uint8_t kRegisterField = 0x38;
  if (code.size() < kThunkBytes || code[0] != kMov || (code[1] & ~kRegisterField) != kFromMemory) return std::nullopt;
  if (code[2] != kStackPointer || code[3] != kRet) return std::nullopt;
  const unsigned gpr = (code[1] & kRegisterField) >> 3;
  return gpr == kEsp ? std::nullopt : std::optional(gpr);
}

}  // namespace ring3
