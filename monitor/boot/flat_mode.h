// The processor state both boot protocols ask for: protected mode, paging off, flat 4 GiB segments.
#pragma once

#include <array>
#include <cstdint>

#include "monitor/cpu/cpu_state.h"
#include "shadowmmu/address.h"

namespace ring3 {

/// Linux's __BOOT_CS and __BOOT_DS (boot protocol, "32-bit boot protocol").
inline constexpr uint16_t kBootCodeSelector = 0x10;
inline constexpr uint16_t kBootDataSelector = 0x18;

/// Null, unused, flat code, flat data.
std::array<uint64_t, 4> FlatDescriptors();

/// Enters flat protected mode at `entry` with interrupts off; the FlatDescriptors lie at `gdt` in guest memory.
/// General registers become zero; everything the protocols leave open stays as it was.
void EnterFlatMode(CpuState& cpu, GuestPhysical gdt, uint32_t entry);

}  // namespace ring3
