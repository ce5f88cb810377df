// The checks that segment loads, far transfers, interrupts and task switches share. All throw GuestFault and change
// nothing; what they return is committed by the caller.
#pragma once

#include <cstdint>

#include "monitor/cpu/cpu.h"
#include "monitor/cpu/descriptor.h"

namespace ring3 {

/// Bytes [offset, offset + bytes) lie in the segment. A limit of 4 GiB lets accesses wrap, as SDM 3A 5.3 permits.
inline bool WithinLimit(const SegmentRegister& segment, uint32_t offset, uint32_t bytes) {
  if (!segment.IsCode() && (segment.attributes & segattr::kExpandDown)) [[unlikely]] {
    const uint64_t top = segment.Big() ? 0xFFFF'FFFF : 0xFFFF;
    return offset > segment.limit && offset + uint64_t{bytes} - 1 <= top;
  }
  return segment.limit == 0xFFFF'FFFF || offset + uint64_t{bytes} - 1 <= segment.limit;
}

/// The offset of a far transfer's destination: #GP(ext) beyond the limit.
inline void CheckCodeLimit(const SegmentRegister& cs, uint32_t eip, uint32_t ext = 0) {
  if (eip > cs.limit) [[unlikely]]
    ThrowFault(Vector::kGeneralProtection, ext);
}

/// A segment register that holds a null selector.
inline SegmentRegister NullSegment(uint16_t selector) { return {selector, 0, 0, 0}; }
/// What loading `selector` in V86 mode gives (SDM 3B 20.2).
SegmentRegister V86Segment(Seg s, uint16_t selector);
/// What loading `selector` into `s` gives in real mode (limit and attributes stay) or V86 mode.
SegmentRegister SegmentWithoutDescriptor(const CpuState& state, Seg s, uint16_t selector);

/// What a checked descriptor loads. Its accessed bit in memory is the last to be set before the commit, so that no
/// fault comes after it.
struct CheckedSegment : SegmentRegister {
  bool unmarked = false;  // the accessed bit is still clear

  CheckedSegment(const SegmentRegister& segment)
      : SegmentRegister(segment) {}  // NOLINT: no descriptor, nothing to mark
  CheckedSegment(uint16_t load_as, const Descriptor& descriptor)
      : SegmentRegister(descriptor.Load(load_as)), unmarked(!(descriptor.Type() & segattr::kAccessed)) {}
  void MarkAccessed(const Cpu& cpu) const {
    if (unmarked) [[unlikely]]
      SetAccessed(cpu, selector, static_cast<uint8_t>(attributes));
  }
};

/// Direct far JMP or CALL to a code segment at the current CPL; `descriptor` is of code or data.
CheckedSegment CheckDirectCode(const Cpu& cpu, uint16_t selector, const Descriptor& descriptor);
/// CS that far RET or IRET returns to. Its RPL is the new CPL.
CheckedSegment CheckReturnCode(const Cpu& cpu, uint16_t selector);
/// SS that a return to the outer level `cpl` loads.
CheckedSegment CheckReturnStack(const Cpu& cpu, uint16_t selector, unsigned cpl);

struct InnerStack {
  CheckedSegment ss;
  uint32_t esp;
};
/// The stack for privilege `cpl` from the current TSS (SDM 3A 5.8.5, 6.12.1).
InnerStack LoadInnerStack(const Cpu& cpu, unsigned cpl, uint32_t ext);

/// After a return to an outer level: data segments that the new CPL may not use become null.
void NullInaccessibleSegments(CpuState& state);

}  // namespace ring3
