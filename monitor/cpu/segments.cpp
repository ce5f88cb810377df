#include "monitor/cpu/segments.h"

#include <algorithm>

#include "monitor/cpu/descriptor.h"
#include "monitor/cpu/privileged.h"
#include "monitor/cpu/segment_checks.h"

namespace ring3 {
namespace {

bool TypeAllows(const SegmentRegister& segment, AccessType type) {
  if (!segment.Present()) return false;
  switch (type) {
    case AccessType::kRead:
      return !segment.IsCode() || (segment.attributes & segattr::kReadable);
    case AccessType::kWrite:
      return !segment.IsCode() && (segment.attributes & segattr::kWritable);
    case AccessType::kFetch:
      return true;
  }
  return false;
}

SegmentRegister CheckStackSegment(const Cpu& cpu, uint16_t selector) {
  if (IsNull(selector)) ThrowFault(Vector::kGeneralProtection, 0);
  const unsigned cpl = cpu.state.cpl;
  const Descriptor descriptor = FetchDescriptor(cpu, selector, Vector::kGeneralProtection);
  if (Rpl(selector) != cpl || descriptor.Dpl() != cpl || !descriptor.IsWritable()) {
    ThrowFault(Vector::kGeneralProtection, SelectorError(selector));
  }
  if (!descriptor.Present()) ThrowFault(Vector::kStackFault, SelectorError(selector));
  MarkAccessed(cpu, selector, descriptor);
  return descriptor.Load(selector);
}

SegmentRegister CheckDataSegment(const Cpu& cpu, uint16_t selector) {
  if (IsNull(selector)) return NullSegment(selector);
  const Descriptor descriptor = FetchDescriptor(cpu, selector, Vector::kGeneralProtection);
  const unsigned privilege = std::max<unsigned>(cpu.state.cpl, Rpl(selector));
  if (!descriptor.IsReadable() || (!descriptor.IsConforming() && privilege > descriptor.Dpl())) {
    ThrowFault(Vector::kGeneralProtection, SelectorError(selector));
  }
  if (!descriptor.Present()) ThrowFault(Vector::kSegmentNotPresent, SelectorError(selector));
  MarkAccessed(cpu, selector, descriptor);
  return descriptor.Load(selector);
}

void RequireDescriptors(const Cpu& cpu) {
  if (!UsesDescriptors(cpu.state)) ThrowFault(Vector::kInvalidOpcode);
}

/// LLDT and LTR: a GDT descriptor of the right kind.
Descriptor FetchSystemDescriptor(const Cpu& cpu, uint16_t selector) {
  if (InLdt(selector)) ThrowFault(Vector::kGeneralProtection, SelectorError(selector));
  return FetchDescriptor(cpu, selector, Vector::kGeneralProtection);
}

}  // namespace

GuestLinear CheckedLinear(const Cpu& cpu, Seg s, uint32_t offset, uint32_t bytes, AccessType type) {
  const SegmentRegister& segment = cpu.state.Segment(s);
  const bool type_allowed = !UsesDescriptors(cpu.state) || TypeAllows(segment, type);
  if (!type_allowed || !WithinLimit(segment, offset, bytes)) [[unlikely]] {
    ThrowFault(s == Seg::kSs ? Vector::kStackFault : Vector::kGeneralProtection, 0);
  }
  return GuestLinear(segment.base + offset);
}

void LoadSegment(Cpu& cpu, Seg s, uint16_t selector) {
  CpuState& state = cpu.state;
  if (!UsesDescriptors(state)) {
    state.Segment(s) = SegmentWithoutDescriptor(state, s, selector);
  } else {
    state.Segment(s) = s == Seg::kSs ? CheckStackSegment(cpu, selector) : CheckDataSegment(cpu, selector);
  }
}

void LoadLdt(Cpu& cpu, uint16_t selector) {
  RequireDescriptors(cpu);
  RequireRing0(cpu);
  if (IsNull(selector)) {
    cpu.state.ldtr = NullSegment(selector);
    return;
  }
  const Descriptor descriptor = FetchSystemDescriptor(cpu, selector);
  if (!descriptor.IsSystem() || descriptor.Type() != systype::kLdt) {
    ThrowFault(Vector::kGeneralProtection, SelectorError(selector));
  }
  if (!descriptor.Present()) ThrowFault(Vector::kSegmentNotPresent, SelectorError(selector));
  cpu.state.ldtr = descriptor.Load(selector);
}

void LoadTaskRegister(Cpu& cpu, uint16_t selector) {
  RequireDescriptors(cpu);
  RequireRing0(cpu);
  if (IsNull(selector)) ThrowFault(Vector::kGeneralProtection, 0);
  const Descriptor descriptor = FetchSystemDescriptor(cpu, selector);
  if (!descriptor.IsTss() || (descriptor.Type() & systype::kBusy)) {
    ThrowFault(Vector::kGeneralProtection, SelectorError(selector));
  }
  if (!descriptor.Present()) ThrowFault(Vector::kSegmentNotPresent, SelectorError(selector));
  SetTssBusy(cpu, selector, true);
  cpu.state.tr = descriptor.Load(selector);
  cpu.state.tr.attributes |= systype::kBusy;
}

}  // namespace ring3
