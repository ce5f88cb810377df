#include "translator/block_mode.h"

#include <array>

namespace ring3 {
namespace {

constexpr uint32_t kWholeSpace = 0xFFFF'FFFF;

/// What a segment's attributes alone say; kFlat where it is readable and writable.
constexpr SegmentShape ShapeOf(uint16_t attributes, bool paragraphs) {
  using namespace segattr;
  if ((attributes & (kCode | kExpandDown)) == kExpandDown) return SegmentShape::kOther;
  if (!(attributes & kPresent)) return SegmentShape::kOther;
  if (paragraphs) return SegmentShape::kFlat;  // in real and V86 mode nothing but the limit is checked
  if (!(attributes & kS)) return SegmentShape::kOther;
  if (attributes & kCode) return attributes & kReadable ? SegmentShape::kReadable : SegmentShape::kOther;
  return attributes & kWritable ? SegmentShape::kFlat : SegmentShape::kReadable;
}

constexpr unsigned kAttributeValues = 256;

struct ShapeTable {
  std::array<std::array<uint8_t, kAttributeValues>, 2> shapes{};  // by whether a selector is a base, and attributes
  constexpr ShapeTable() {
    for (unsigned attributes = 0; attributes < kAttributeValues; ++attributes) {
      for (const bool paragraphs : {false, true}) {
        shapes[paragraphs][attributes] = static_cast<uint8_t>(ShapeOf(static_cast<uint16_t>(attributes), paragraphs));
      }
    }
  }
};
constexpr ShapeTable kShapes;

/// Without branches: this is on the way of each system call.
uint32_t ShapeOf(const SegmentRegister& s, bool paragraphs) {
  static_assert(static_cast<unsigned>(SegmentShape::kFlat) == 0 && static_cast<unsigned>(SegmentShape::kBased) == 1 &&
                static_cast<unsigned>(SegmentShape::kLimited) == 2);
  const uint32_t shape = kShapes.shapes[paragraphs][s.attributes % kAttributeValues];
  const bool limited = s.limit != kWholeSpace;
  const uint32_t extent = limited * 2u | (!limited & (s.base != 0));
  return shape | (shape ? 0 : extent);
}

bool AlignmentChecked(const CpuState& state) {
  return state.cpl == 3 && (state.cr0 & cr0::kAm) && (state.eflags & eflags::kAc);
}

}  // namespace

uint32_t BlockMode::BitsWithoutShapes(const CpuState& state) {
  if ((state.eflags & eflags::kTf) || AlignmentChecked(state)) return kUntranslatable;
  uint32_t bits = 0;
  if (!state.Segment(Seg::kCs).Big()) bits |= kCode16;
  if (!state.ProtectedMode() || state.V86()) bits |= kParagraphs;
  if (state.cpl == 0) bits |= kRing0;
  if (state.cpl == 3) bits |= kUser;
  if (state.Stack32()) bits |= kStack32;
  if ((state.cr0 & (cr0::kEm | cr0::kTs)) || state.ignore_x87_error) bits |= kX87Traps | kSseTraps;
  if (!(state.cr4 & cr4::kOsfxsr)) bits |= kSseTraps;
  if (state.AvxEnabled() && !(state.cr0 & cr0::kTs)) bits |= kAvxRuns;
  if (state.cpl == 0 || !(state.cr4 & cr4::kTsd)) bits |= kTscAllowed;
  return bits;
}

BlockMode BlockMode::Of(const CpuState& state) {
  BlockMode mode;
  uint32_t bits = BitsWithoutShapes(state);
  if (bits & kUntranslatable) return mode;
  for (unsigned i = 0; i < kSegCount; ++i) {
    bits |= ShapeOf(state.seg[i], bits & kParagraphs) << ShiftOf(static_cast<Seg>(i));
  }
  const SegmentRegister& cs = state.Segment(Seg::kCs);
  mode.bits_ = bits;
  mode.code_ = {cs.base, cs.limit};
  return mode;
}

BlockMode BlockMode::After(const CpuState& state, Seg changed, Seg also_changed) const {
  uint32_t bits = BitsWithoutShapes(state);
  if ((bits_ | bits) & (kUntranslatable | kParagraphs)) return Of(state);
  uint32_t kept = bits_ & ~0u << kShapeShift;
  for (const Seg s : {changed, also_changed}) {
    kept &= ~(kShapeMask << ShiftOf(s));
    bits |= ShapeOf(state.Segment(s), false) << ShiftOf(s);
  }
  const SegmentRegister& cs = state.Segment(Seg::kCs);
  BlockMode mode;
  mode.bits_ = bits | kept;
  mode.code_ = {cs.base, cs.limit};
  return mode;
}

uint64_t BlockMode::Hash() const {
  constexpr uint64_t kOdd = 0x9E37'79B9'7F4A'7C15;
  return (bits_ * kOdd ^ (uint64_t{code_.base} << 32 | code_.limit)) * kOdd;
}

}  // namespace ring3
