#include "translator/block_mode.h"

namespace ring3 {
namespace {

SegmentShape ShapeOf(const SegmentRegister& s) {
  using namespace segattr;
  constexpr uint16_t kRights = kPresent | kS | kCode | kWritable | kExpandDown;
  constexpr uint16_t kWritableData = kPresent | kS | kWritable;
  if (s.limit != 0xFFFF'FFFF || (s.attributes & kRights) != kWritableData) return SegmentShape::kOther;
  return s.base == 0 ? SegmentShape::kFlat : SegmentShape::kBased;
}

bool FlatCode(const SegmentRegister& cs) { return cs.base == 0 && cs.limit == 0xFFFF'FFFF && cs.IsCode() && cs.Big(); }

}  // namespace

BlockMode BlockMode::Of(const CpuState& state) {
  BlockMode mode;
  if (!state.ProtectedMode() || state.V86() || (state.eflags & eflags::kTf) || !FlatCode(state.Segment(Seg::kCs))) {
    return mode;
  }
  uint32_t bits = 0;
  if (state.cpl == 0) bits |= kRing0;
  if (state.cpl == 3) bits |= kUser;
  if (state.Stack32()) bits |= kStack32;
  if ((state.cr0 & (cr0::kEm | cr0::kTs)) || state.ignore_x87_error) bits |= kX87Traps | kSseTraps;
  if (!(state.cr4 & cr4::kOsfxsr)) bits |= kSseTraps;
  if (state.cpl == 0 || !(state.cr4 & cr4::kTsd)) bits |= kTscAllowed;
  for (unsigned i = 0; i < kSegCount; ++i) {
    SegmentShape shape = static_cast<Seg>(i) == Seg::kCs ? SegmentShape::kOther : ShapeOf(state.seg[i]);
    bits |= static_cast<uint32_t>(shape) << (kShapeShift + 2 * i);
  }
  mode.bits_ = bits;
  return mode;
}

}  // namespace ring3
