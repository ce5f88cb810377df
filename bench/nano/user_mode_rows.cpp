// Rows of the border between programs and their kernel.
#include "machine.h"
#include "rows.h"

extern "C" const uint8_t UserSystemCalls[], UserSysenters[];

namespace nano {
namespace {

uint64_t RunRounds(const uint8_t* loop, uint32_t n) {
  const UserRegisters registers{.eax = 0, .ecx = 0, .esi = n, .edi = 0};
  return Timed([&] { RunUser(loop, &registers); });
}

uint64_t SystemCall(uint32_t n) { return RunRounds(UserSystemCalls, n); }
uint64_t Sysenter(uint32_t n) { return RunRounds(UserSysenters, n); }

constexpr Row kRows[] = {
#define NANO_USER_MODE_ROW(name, use, ...) {name, __VA_ARGS__},
#include "rows.def"
};

}  // namespace

Rows UserModeRows() { return {kRows, sizeof kRows / sizeof kRows[0]}; }

}  // namespace nano
