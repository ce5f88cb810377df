#include "tests/instructions/segment_pool.h"

namespace ring3 {
namespace {

using Kind = LdtEntry::Kind;

constexpr uint32_t kWholePages = 0xFFFFF, kWhole16 = 0xFFFF;

/// Names of the pool's entries, in order.
enum Entry : uint8_t {
  kCode32Flat,
  kCode32,
  kCode16,
  kCode16Tight,
  kCode16Flat,
  kCode32ExecuteOnly,
  kData32Flat,
  kData32Tight,
  kData32Based,
  kData32Wrapping,
  kData16,
  kData16Tight,
  kDataReadOnly,
  kDownData16,
  kDownData32,
  kStack32,
  kStack16,
  kDownStack16,
  kAbsent,
  kEntries,
};

}  // namespace

const std::vector<LdtEntry>& SegmentPool() {
  static const std::vector<LdtEntry> pool = [] {
    using guest::kCode, guest::kCodeBytes, guest::kData, guest::kDataBytes, guest::kStack, guest::kStackBytes;
    std::vector<LdtEntry> p(kEntries);
    p[kCode32Flat] = {.kind = Kind::kCode, .pages = true, .limit = kWholePages};
    p[kCode32] = {.kind = Kind::kCode, .base = kCode, .limit = kCodeBytes - 1};
    p[kCode16] = {.kind = Kind::kCode, .big = false, .base = kCode, .limit = kWhole16};
    p[kCode16Tight] = {.kind = Kind::kCode, .big = false, .base = kCode, .limit = kCodeBytes / 2 + 0x7F};
    p[kCode16Flat] = {.kind = Kind::kCode, .big = false, .pages = true, .limit = kWholePages};
    p[kCode32ExecuteOnly] = {.kind = Kind::kCode, .read_only = true, .pages = true, .limit = kWholePages};
    p[kData32Flat] = {.pages = true, .limit = kWholePages};
    p[kData32Tight] = {.base = kData, .limit = kDataBytes - 0x20};
    p[kData32Based] = {.pages = true, .base = kData + 0x1800, .limit = kWholePages};
    p[kData32Wrapping] = {.pages = true, .base = 0xF000'0000, .limit = kWholePages};
    p[kData16] = {.big = false, .base = kData, .limit = kWhole16};
    p[kData16Tight] = {.big = false, .base = kData + 0x10, .limit = kDataBytes / 2 - 3};
    p[kDataReadOnly] = {.read_only = true, .pages = true, .limit = kWholePages};
    p[kDownData16] = {.kind = Kind::kExpandDown, .big = false, .base = kData - 0xC000, .limit = 0xC003};
    p[kDownData32] = {.kind = Kind::kExpandDown, .base = kData - 0x1000, .limit = 0x1003};
    p[kStack32] = {.base = kStack, .limit = kStackBytes - 1};
    p[kStack16] = {.big = false, .base = kStack, .limit = kWhole16};
    p[kDownStack16] = {.kind = Kind::kExpandDown, .big = false, .base = kStack - 0xE000, .limit = 0xE003};
    p[kAbsent] = {.present = false, .base = kData, .limit = kWhole16};
    return p;
  }();
  return pool;
}

Segmentation PickSegments(CodeKind kind, Random& random) {
  constexpr Entry kCodes32[] = {kCode32Flat, kCode32, kCode32Flat, kCode32ExecuteOnly};
  constexpr Entry kCodes16[] = {kCode16, kCode16, kCode16, kCode16Tight, kCode16Flat};
  constexpr Entry kStacks[] = {kData32Flat, kStack32, kStack16, kStack16, kDownStack16};
  constexpr Entry kDatas[] = {kData32Flat, kData32Tight, kData32Based, kData32Wrapping,   kData16,
                              kData16,     kData16,      kData16Tight, kDataReadOnly,     kDownData16,
                              kDownData32, kCode32Flat,  kCode32,      kCode32ExecuteOnly};
  const auto data = [&] {
    const Entry entry = random.From(kDatas);
    return random.OneIn(24) || entry == kCode32ExecuteOnly ? uint16_t{0} : LdtSelector(entry);
  };
  Segmentation s{.ldt = SegmentPool(), .selectors = {guest::kData3, guest::kCode3, guest::kData3, guest::kData3}};
  if (kind != CodeKind::kFlat) {
    s.selectors[0] = data();
    s.selectors[1] = LdtSelector(kind == CodeKind::kSegmented16 ? random.From(kCodes16) : random.From(kCodes32));
    s.selectors[2] = LdtSelector(random.From(kStacks));
    s.selectors[3] = data();
  }
  s.selectors[4] = data();
  s.selectors[5] = data();
  return s;
}

Segmentation SequenceSegments(CodeKind kind, Random& random) {
  constexpr Entry kCodes32[] = {kCode32, kCode32Flat}, kDatas32[] = {kData32Tight, kData32Flat, kData32Wrapping};
  constexpr Entry kDatas16[] = {kData16, kData16, kDownData16};
  Segmentation s = PickSegments(CodeKind::kFlat, random);
  if (kind != CodeKind::kFlat) {
    const bool code16 = kind == CodeKind::kSegmented16;
    const uint16_t data = LdtSelector(code16 ? random.From(kDatas16) : random.From(kDatas32));
    const uint16_t stack = LdtSelector(code16 ? kStack16 : random.OneIn(2) ? kStack32 : kData32Flat);
    s.selectors = {data, LdtSelector(code16 ? kCode16 : random.From(kCodes32)), stack, data, 0, s.selectors[5]};
  }
  s.selectors[static_cast<unsigned>(Seg::kFs)] = LdtSelector(kData32Flat);
  return s;
}

uint16_t PickSelector(Random& random) {
  constexpr uint16_t kOutside = 0xFFF8, kRplMask = 3;
  switch (random.Below(12)) {
    case 0:
      return static_cast<uint16_t>(random.Below(4));
    case 1:
      return guest::kData3;
    case 2:
      return guest::kCode3;
    case 3:
      return static_cast<uint16_t>(kOutside | random.Below(8));
    case 4:  // with another RPL
      return static_cast<uint16_t>((LdtSelector(random.Below(kEntries)) & ~kRplMask) | random.Below(4));
    default:
      return LdtSelector(random.Below(kEntries));
  }
}

uint16_t PickCodeSelector(Random& random) {
  constexpr Entry kCodes[] = {kCode32Flat, kCode32, kCode16, kCode16Tight, kCode16Flat};
  return random.OneIn(4) ? PickSelector(random) : LdtSelector(random.From(kCodes));
}

}  // namespace ring3
