#include "devices/system_ports.h"

namespace ring3 {
namespace {

// Port 61h (ISA "NMI status and control").
constexpr uint8_t kTimer2Gate = 0x01;
constexpr uint8_t kControlBWritable = 0x0F;  // gate 2, speaker data, SERR# and IOCHK# enables
constexpr uint8_t kRefreshToggle = 0x10;
constexpr uint8_t kTimer2Output = 0x20;
constexpr uint64_t kRefreshTicks = 18;  // counter 1's usual count: one refresh each 15 us

// Port 92h.
constexpr uint8_t kFastReset = 0x01;
constexpr uint8_t kFastA20 = 0x02;

// Port CF9h.
constexpr uint8_t kSystemReset = 0x02;  // hard rather than soft
constexpr uint8_t kResetCpu = 0x04;     // the reset happens on its rising edge

constexpr bool IsResetControl(uint16_t port) { return (port & 3) == 1; }

}  // namespace

void SystemControlB::Reset() {
  written_ = 0;
  pit_.SetGate2(false);
}

uint8_t SystemControlB::ReadByte(uint16_t) {
  const bool refresh = (NanosecondsToTicks(clock_.NowNs(), Pit8254::kHertz) / kRefreshTicks & 1) != 0;
  return static_cast<uint8_t>(written_ | (refresh ? kRefreshToggle : 0) | (pit_.Output2() ? kTimer2Output : 0));
}

void SystemControlB::WriteByte(uint16_t, uint8_t value) {
  written_ = value & kControlBWritable;
  pit_.SetGate2((value & kTimer2Gate) != 0);
}

uint8_t SystemControlA::ReadByte(uint16_t) { return a20_enabled_ ? kFastA20 : 0; }

void SystemControlA::WriteByte(uint16_t, uint8_t value) {
  a20_enabled_ = (value & kFastA20) != 0;
  a20_(a20_enabled_);
  if ((value & kFastReset) != 0) reset_();
}

uint8_t ResetControl::ReadByte(uint16_t port) { return IsResetControl(port) ? value_ : 0xFF; }

void ResetControl::WriteByte(uint16_t port, uint8_t value) {
  if (!IsResetControl(port)) return;
  const bool rising = (value & kResetCpu) != 0 && (value_ & kResetCpu) == 0;
  value_ = value & (kSystemReset | kResetCpu);
  if (rising) reset_();
}

}  // namespace ring3
