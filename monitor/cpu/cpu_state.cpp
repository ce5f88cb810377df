#include "monitor/cpu/cpu_state.h"

#include <cstring>

namespace ring3 {
namespace {

constexpr uint16_t kDataAttributes = segattr::kPresent | segattr::kS | segattr::kWritable | segattr::kAccessed;
constexpr uint16_t kCodeAttributes = kDataAttributes | segattr::kCode;
constexpr uint16_t kLdtAttributes = segattr::kPresent | 2, kTss32BusyAttributes = segattr::kPresent | 11;
constexpr uint16_t kResetFcw = 0x0040;
constexpr uint32_t kResetMxcsr = 0x1F80;
constexpr unsigned kFcwOffset = 0, kFtwOffset = 4, kMxcsrOffset = 24;
/// IA32_MISC_ENABLE: fast strings on; branch trace and event-based sampling unavailable.
constexpr uint64_t kMiscEnable = 1u << 0 | 1u << 11 | 1u << 12;

}  // namespace

void CpuState::Reset() {
  *this = CpuState{};
  eip = 0xFFF0;
  cr0 = cr0::kCd | cr0::kNw | cr0::kEt;
  seg.fill({0, kDataAttributes, 0, 0xFFFF});
  Segment(Seg::kCs) = {0xF000, kCodeAttributes, 0xFFFF'0000, 0xFFFF};
  gdtr = idtr = {0, 0xFFFF};
  ldtr = {0, kLdtAttributes, 0, 0xFFFF};
  tr = {0, kTss32BusyAttributes, 0, 0xFFFF};
  dr[6] = dr6::kFixedOnes;
  dr[7] = dr7::kFixedOnes;
  misc_enable = kMiscEnable;
  std::memcpy(&fxsave[kFcwOffset], &kResetFcw, sizeof kResetFcw);
  fxsave[kFtwOffset] = 0xFF;  // abridged tag word: RESET leaves eight valid zeros
  std::memcpy(&fxsave[kMxcsrOffset], &kResetMxcsr, sizeof kResetMxcsr);
}

}  // namespace ring3
