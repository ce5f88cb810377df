#include "monitor/cpu/segment_checks.h"

#include <array>
#include <cstring>

namespace ring3 {
namespace {

constexpr uint16_t kV86Attributes =
    segattr::kPresent | segattr::kDplMask | segattr::kS | segattr::kWritable | segattr::kAccessed;
constexpr uint16_t kRealModeAttributes = segattr::kPresent | segattr::kS | segattr::kWritable | segattr::kAccessed;

void RequirePresent(const Descriptor& descriptor, uint16_t selector, Vector vector, uint32_t ext = 0) {
  if (!descriptor.Present()) [[unlikely]]
    ThrowFault(vector, SelectorError(selector, ext));
}

}  // namespace

SegmentRegister V86Segment(Seg s, uint16_t selector) {
  const uint16_t code = s == Seg::kCs ? segattr::kCode : 0;
  return {selector, static_cast<uint16_t>(kV86Attributes | code), uint32_t{selector} << 4, 0xFFFF};
}

SegmentRegister SegmentWithoutDescriptor(const CpuState& state, Seg s, uint16_t selector) {
  if (state.V86()) return V86Segment(s, selector);
  SegmentRegister loaded = state.Segment(s);
  loaded.selector = selector;
  loaded.base = uint32_t{selector} << 4;
  if (!loaded.Present()) {  // null since protected mode: nothing cached that could be kept
    loaded.attributes = kRealModeAttributes;
    loaded.limit = 0xFFFF;
  }
  return loaded;
}

CheckedSegment CheckDirectCode(const Cpu& cpu, uint16_t selector, const Descriptor& descriptor) {
  const unsigned cpl = cpu.state.cpl;
  const bool allowed =
      descriptor.IsConforming() ? descriptor.Dpl() <= cpl : Rpl(selector) <= cpl && descriptor.Dpl() == cpl;
  if (!descriptor.IsCode() || !allowed) ThrowFault(Vector::kGeneralProtection, SelectorError(selector));
  RequirePresent(descriptor, selector, Vector::kSegmentNotPresent);
  return {static_cast<uint16_t>((selector & 0xFFFC) | cpl), descriptor};
}

CheckedSegment CheckReturnCode(const Cpu& cpu, uint16_t selector) {
  if (IsNull(selector)) ThrowFault(Vector::kGeneralProtection, 0);
  const Descriptor descriptor = FetchDescriptor(cpu, selector, Vector::kGeneralProtection);
  const unsigned rpl = Rpl(selector);
  const bool level = descriptor.IsConforming() ? descriptor.Dpl() <= rpl : descriptor.Dpl() == rpl;
  if (!descriptor.IsCode() || rpl < cpu.state.cpl || !level) {
    ThrowFault(Vector::kGeneralProtection, SelectorError(selector));
  }
  RequirePresent(descriptor, selector, Vector::kSegmentNotPresent);
  return {selector, descriptor};
}

CheckedSegment CheckReturnStack(const Cpu& cpu, uint16_t selector, unsigned cpl) {
  if (IsNull(selector)) ThrowFault(Vector::kGeneralProtection, 0);
  const Descriptor descriptor = FetchDescriptor(cpu, selector, Vector::kGeneralProtection);
  if (Rpl(selector) != cpl || descriptor.Dpl() != cpl || !descriptor.IsWritable()) {
    ThrowFault(Vector::kGeneralProtection, SelectorError(selector));
  }
  RequirePresent(descriptor, selector, Vector::kStackFault);
  return {selector, descriptor};
}

InnerStack LoadInnerStack(const Cpu& cpu, unsigned cpl, uint32_t ext) {
  const SegmentRegister& tr = cpu.state.tr;
  const bool wide = tr.attributes & systype::k32Bit;
  const uint32_t offset = wide ? 8 * cpl + 4 : 4 * cpl + 2;
  const uint32_t pointer_bytes = wide ? 4 : 2;
  if (offset + pointer_bytes + 1 > tr.limit) ThrowFault(Vector::kInvalidTss, SelectorError(tr.selector, ext));
  std::array<uint8_t, 6> fields;
  cpu.memory.ReadBytes(GuestLinear(tr.base + offset), {fields.data(), pointer_bytes + 2}, kImplicitRead);
  uint32_t esp = 0;
  uint16_t selector = 0;
  std::memcpy(&esp, fields.data(), pointer_bytes);
  std::memcpy(&selector, fields.data() + pointer_bytes, sizeof selector);

  if (IsNull(selector)) ThrowFault(Vector::kInvalidTss, ext);
  const Descriptor descriptor = FetchDescriptor(cpu, selector, Vector::kInvalidTss, ext);
  if (Rpl(selector) != cpl || descriptor.Dpl() != cpl || !descriptor.IsWritable()) {
    ThrowFault(Vector::kInvalidTss, SelectorError(selector, ext));
  }
  RequirePresent(descriptor, selector, Vector::kStackFault, ext);
  return {{selector, descriptor}, esp};
}

void NullInaccessibleSegments(CpuState& state) {
  for (Seg s : {Seg::kEs, Seg::kDs, Seg::kFs, Seg::kGs}) {
    SegmentRegister& segment = state.Segment(s);
    const bool conforming = segment.IsCode() && (segment.attributes & segattr::kConforming);
    if (!conforming && segment.Dpl() < state.cpl) segment = NullSegment(0);
  }
}

}  // namespace ring3
