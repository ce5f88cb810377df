#include "monitor/boot/flat_mode.h"

#include "monitor/cpu/memory_types.h"

namespace ring3 {
namespace {

constexpr uint16_t kFlatCommon = segattr::kAccessed | segattr::kS | segattr::kPresent | segattr::kDb | segattr::kG;
constexpr uint16_t kFlatCode = kFlatCommon | segattr::kCode | segattr::kReadable;
constexpr uint16_t kFlatData = kFlatCommon | segattr::kWritable;

// Base 0, limit FFFFF in 4 KiB units; attributes occupy bits 40..55 around the limit's top four (SDM 3A figure 3-8).
constexpr uint64_t FlatDescriptor(uint16_t attributes) {
  return 0x000F'0000'0000'FFFF | (static_cast<uint64_t>(attributes) << 40);
}

SegmentRegister FlatSegment(uint16_t selector, uint16_t attributes) {
  return {.selector = selector, .attributes = attributes, .base = 0, .limit = 0xFFFF'FFFF};
}

}  // namespace

std::array<uint64_t, 4> FlatDescriptors() { return {0, 0, FlatDescriptor(kFlatCode), FlatDescriptor(kFlatData)}; }

void EnterFlatMode(CpuState& cpu, GuestPhysical gdt, uint32_t entry) {
  for (SegmentRegister& segment : cpu.seg) segment = FlatSegment(kBootDataSelector, kFlatData);
  cpu.Segment(Seg::kCs) = FlatSegment(kBootCodeSelector, kFlatCode);
  cpu.gdtr = {static_cast<uint32_t>(gdt.value), static_cast<uint16_t>(sizeof(uint64_t) * FlatDescriptors().size() - 1)};
  cpu.idtr = {0, 0};
  cpu.cr0 = (cpu.cr0 & ~cr0::kPg) | cr0::kPe;
  cpu.mtrr.default_type = kFirmwareMemoryTypes;
  cpu.cpl = 0;
  cpu.eflags = eflags::kReserved1;
  cpu.gpr.fill(0);
  cpu.eip = entry;
}

}  // namespace ring3
