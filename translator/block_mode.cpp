#include "translator/block_mode.h"

namespace ring3 {
namespace {

constexpr uint32_t kWholeSpace = 0xFFFF'FFFF;

SegmentShape ShapeOf(const SegmentRegister& s, bool paragraphs) {
  using namespace segattr;
  if ((s.attributes & (kCode | kExpandDown)) == kExpandDown) return SegmentShape::kOther;
  if (!(s.attributes & kPresent)) return SegmentShape::kOther;
  // In real and V86 mode nothing but the limit is checked.
  if (paragraphs) {
    if (s.limit != kWholeSpace) return SegmentShape::kLimited;
    return s.base == 0 ? SegmentShape::kFlat : SegmentShape::kBased;
  }
  if (!(s.attributes & kS)) return SegmentShape::kOther;
  if (s.IsCode()) return s.attributes & kReadable ? SegmentShape::kReadable : SegmentShape::kOther;
  if (!(s.attributes & kWritable)) return SegmentShape::kReadable;
  if (s.limit != kWholeSpace) return SegmentShape::kLimited;
  return s.base == 0 ? SegmentShape::kFlat : SegmentShape::kBased;
}

bool AlignmentChecked(const CpuState& state) {
  return state.cpl == 3 && (state.cr0 & cr0::kAm) && (state.eflags & eflags::kAc);
}

}  // namespace

BlockMode BlockMode::Of(const CpuState& state) {
  BlockMode mode;
  if ((state.eflags & eflags::kTf) || AlignmentChecked(state)) return mode;
  const SegmentRegister& cs = state.Segment(Seg::kCs);
  const bool paragraphs = !state.ProtectedMode() || state.V86();
  uint32_t bits = 0;
  if (!cs.Big()) bits |= kCode16;
  if (paragraphs) bits |= kParagraphs;
  if (state.cpl == 0) bits |= kRing0;
  if (state.cpl == 3) bits |= kUser;
  if (state.Stack32()) bits |= kStack32;
  if ((state.cr0 & (cr0::kEm | cr0::kTs)) || state.ignore_x87_error) bits |= kX87Traps | kSseTraps;
  if (!(state.cr4 & cr4::kOsfxsr)) bits |= kSseTraps;
  if (state.AvxEnabled() && !(state.cr0 & cr0::kTs)) bits |= kAvxRuns;
  if (state.cpl == 0 || !(state.cr4 & cr4::kTsd)) bits |= kTscAllowed;
  for (unsigned i = 0; i < kSegCount; ++i) {
    bits |= static_cast<uint32_t>(ShapeOf(state.seg[i], paragraphs)) << (kShapeShift + kShapeBits * i);
  }
  mode.bits_ = bits;
  mode.code_ = {cs.base, cs.limit};
  return mode;
}

uint64_t BlockMode::Hash() const {
  constexpr uint64_t kOdd = 0x9E37'79B9'7F4A'7C15;
  return (bits_ * kOdd ^ (uint64_t{code_.base} << 32 | code_.limit)) * kOdd;
}

}  // namespace ring3
