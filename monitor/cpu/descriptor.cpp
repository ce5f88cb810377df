#include "monitor/cpu/descriptor.h"

namespace ring3 {
namespace {

/// Byte of a descriptor that holds type, S, DPL and P.
constexpr uint32_t kTypeByte = 5;
constexpr uint32_t kDescriptorBytes = 8;

}  // namespace

void ThrowFault(Vector vector) { throw GuestFault{vector, std::nullopt}; }
void ThrowFault(Vector vector, uint32_t error_code) { throw GuestFault{vector, error_code}; }

GuestLinear DescriptorAddress(const CpuState& state, uint16_t selector) {
  const uint32_t table = InLdt(selector) ? state.ldtr.base : state.gdtr.base;
  return GuestLinear(table + (selector & 0xFFF8u));
}

std::optional<Descriptor> FindDescriptor(const Cpu& cpu, uint16_t selector) {
  const CpuState& state = cpu.state;
  if (InLdt(selector) && !state.ldtr.Present()) return std::nullopt;
  const uint32_t limit = InLdt(selector) ? state.ldtr.limit : state.gdtr.limit;
  if ((selector & 0xFFF8u) + (kDescriptorBytes - 1) > limit) return std::nullopt;
  return Descriptor{cpu.memory.Read<uint64_t>(DescriptorAddress(state, selector), kImplicitRead)};
}

Descriptor FetchDescriptor(const Cpu& cpu, uint16_t selector, Vector vector, uint32_t ext) {
  if (const auto descriptor = FindDescriptor(cpu, selector)) [[likely]]
    return *descriptor;
  ThrowFault(vector, SelectorError(selector, ext));
}

void MarkAccessed(const Cpu& cpu, uint16_t selector, const Descriptor& descriptor) {
  if (descriptor.Type() & segattr::kAccessed) [[likely]]
    return;
  SetAccessed(cpu, selector, static_cast<uint8_t>(descriptor.High() >> 8));
}

void SetAccessed(const Cpu& cpu, uint16_t selector, uint8_t type_byte) {
  cpu.memory.Write<uint8_t>(DescriptorAddress(cpu.state, selector) + kTypeByte, type_byte | segattr::kAccessed,
                            kImplicitWrite);
}

void CheckTssWritable(const Cpu& cpu, uint16_t selector) {
  cpu.memory.CheckWritable(DescriptorAddress(cpu.state, selector) + kTypeByte, 1, false);
}

void SetTssBusy(const Cpu& cpu, uint16_t selector, bool busy) {
  const GuestLinear address = DescriptorAddress(cpu.state, selector) + kTypeByte;
  const auto type_byte = cpu.memory.Read<uint8_t>(address, kImplicitRead);
  const auto changed = busy ? type_byte | systype::kBusy : type_byte & ~systype::kBusy;
  cpu.memory.Write<uint8_t>(address, static_cast<uint8_t>(changed), kImplicitWrite);
}

}  // namespace ring3
