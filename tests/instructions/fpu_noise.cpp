#include "tests/instructions/fpu_noise.h"

#include <cstring>

namespace ring3 {
namespace {

constexpr unsigned kFcw = 0, kFsw = 2, kTags = 4, kMxcsr = 24, kSt0 = 32, kXmm0 = 160, kSlot = 16, kRegisters = 8;
constexpr unsigned kExtendedBytes = 10;

constexpr uint32_t kSingles[] = {0,           0x8000'0000, 1,           0x807F'FFFF, 0x0080'0000, 0x3F80'0000,
                                 0xBFC0'0000, 0x7F7F'FFFF, 0x7F80'0000, 0xFF80'0000, 0x7FC0'0000, 0x7F80'0001,
                                 0xFFC1'2345, 0x4F00'0000, 0xCF00'0000, 0x5F00'0000, 0x3F00'0000, 0x4B00'0001};
constexpr uint64_t kDoubles[] = {0,
                                 1ull << 63,
                                 1,
                                 0x800F'FFFF'FFFF'FFFF,
                                 0x0010'0000'0000'0000,
                                 0x3FF0'0000'0000'0000,
                                 0xBFF8'0000'0000'0000,
                                 0x7FEF'FFFF'FFFF'FFFF,
                                 0x7FF0'0000'0000'0000,
                                 0xFFF0'0000'0000'0000,
                                 0x7FF8'0000'0000'0000,
                                 0x7FF0'0000'0000'0001,
                                 0x41E0'0000'0000'0000,
                                 0xC1E0'0000'0000'0000,
                                 0x43E0'0000'0000'0000,
                                 0x3690'0000'0000'0000,
                                 0x3FE0'0000'0000'0000,
                                 0x4330'0000'0000'0001};

/// Sign and exponent with significand: all kinds, unnormal and pseudo ones too.
void PutExtended(uint8_t* to, Random& random) {
  constexpr uint16_t kExponents[] = {0, 0, 1, 0x3FFF, 0x3FFE, 0x4000, 0x403E, 0x401E, 0x7FFE, 0x7FFF, 0x7FFF, 0x3C00};
  constexpr uint64_t kSignificands[] = {
      0, 1ull << 63, ~0ull, 1, 0xC000'0000'0000'0000, 0x8000'0000'0000'0001, 1ull << 62, 0xA000'0000'0000'0000};
  uint16_t head = random.From(kExponents);
  uint64_t significand = random.From(kSignificands);
  if (random.OneIn(2)) {  // an ordinary number
    head = static_cast<uint16_t>(0x3FFF - 40 + random.Below(80));
    significand = random.Next() | 1ull << 63;
  }
  if (random.OneIn(2)) head |= 0x8000;
  std::memcpy(to, &significand, sizeof significand);
  std::memcpy(to + sizeof significand, &head, sizeof head);
}

template <class T>
void Put(uint8_t* to, T value) {
  std::memcpy(to, &value, sizeof value);
}

}  // namespace

Bytes NoisyOperand(unsigned bytes, Random& random) {
  Bytes out(bytes);
  const uint32_t kind = random.Below(4);
  for (unsigned at = 0; at < bytes;) {
    const unsigned left = bytes - at;
    if (left >= kExtendedBytes && bytes == kExtendedBytes && kind != 0) {
      PutExtended(&out[at], random);
      at += kExtendedBytes;
    } else if (left >= 8 && kind == 1) {
      Put(&out[at], random.From(kDoubles));
      at += 8;
    } else if (left >= 4 && kind == 2) {
      Put(&out[at], random.From(kSingles));
      at += 4;
    } else {
      const uint32_t value = random.Value();
      const unsigned size = left < 4 ? left : 4;
      std::memcpy(&out[at], &value, size);
      at += size;
    }
  }
  return out;
}

std::array<uint8_t, 512> NoisyFpu(Random& random) {
  constexpr uint16_t kMaskAll = 0x3F, kFcwFixed = 0x40, kConditionsAndTop = 0x7F00, kSummaryAndBusy = 0x8080;
  constexpr uint32_t kMxcsrMasks = 0x1F80, kMxcsrRest = 0xE07F;
  std::array<uint8_t, 512> image = OracleState().fxsave;
  for (unsigned i = 0; i < kRegisters; ++i) {
    PutExtended(&image[kSt0 + kSlot * i], random);
    const Bytes xmm = NoisyOperand(kSlot, random);
    std::memcpy(&image[kXmm0 + kSlot * i], xmm.data(), kSlot);
  }
  auto control = static_cast<uint16_t>((random.Word() & 0xF00) | kFcwFixed | kMaskAll);
  auto status = static_cast<uint16_t>(random.Word() & kConditionsAndTop);
  if (random.OneIn(8)) control = static_cast<uint16_t>(control & ~(random.Word() & kMaskAll));
  if (random.OneIn(8)) status |= static_cast<uint16_t>(random.Word() & 0x7F);
  if (status & ~control & kMaskAll) {
    status |= kSummaryAndBusy;
    if (!random.OneIn(4)) status &= static_cast<uint16_t>(~kSummaryAndBusy & ~kMaskAll);
  }
  Put(&image[kFcw], control);
  Put(&image[kFsw], status);
  image[kTags] = static_cast<uint8_t>(random.OneIn(4) ? random.Word() : 0xFF);
  uint32_t mxcsr = kMxcsrMasks;
  if (random.OneIn(2)) mxcsr |= random.Word() & kMxcsrRest;
  if (random.OneIn(8)) mxcsr &= ~(random.Word() & kMxcsrMasks);
  Put(&image[kMxcsr], mxcsr);
  return image;
}

}  // namespace ring3
