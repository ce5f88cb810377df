#include "power.h"

#include "x86.h"

namespace demo {
namespace {
constexpr uint16_t kPm1aControl = 0x604;
constexpr uint16_t kSleepEnable = 1u << 13;  // with SLP_TYP 0, which means S5 on this machine
constexpr uint16_t kDebugExitPort = 0xF4;
}  // namespace

void PowerOff(bool failed) {
  WritePort16(kPm1aControl, kSleepEnable);
  WritePort8(kDebugExitPort, failed ? 1 : 0);
  for (;;) asm volatile("cli\n hlt");
}

}  // namespace demo
