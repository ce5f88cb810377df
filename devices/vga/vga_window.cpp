#include "devices/vga/vga_window.h"

#include <bit>
#include <cstring>

#include "devices/vga/direct_window.h"

namespace ring3 {
namespace {

using namespace vga;

constexpr uint32_t kPlanes = 4;
constexpr uint32_t kVgaCells = 0x10000;  // 64 KiB in each plane, without the Bochs extension
constexpr uint32_t kBankBytes = 0x10000;
constexpr uint32_t kFontPlane = 1u << 2;
constexpr uint8_t kAllPlanes = 0x0F;

struct Aperture {
  uint32_t first, bytes;
};
/// By the memory map select of the graphics controller.
constexpr Aperture kApertures[] = {{0, 0x20000}, {0, 0x10000}, {0x10000, 0x8000}, {0x18000, 0x8000}};

/// One bit for each plane to one byte for each.
constexpr uint32_t Spread(uint32_t planes) {
  return (planes & 1 ? 0xFFu : 0) | (planes & 2 ? 0xFF00u : 0) | (planes & 4 ? 0xFF0000u : 0) |
         (planes & 8 ? 0xFF000000u : 0);
}

constexpr uint32_t InAllPlanes(uint8_t value) { return value * 0x01010101u; }

/// The latches and the data meet here (FreeVGA: raster operation of the Data Rotate Register).
uint32_t Combine(uint8_t rotate_register, uint32_t data, uint32_t latch) {
  switch (rotate_register >> 3 & 3) {
    case 1:
      return data & latch;
    case 2:
      return data | latch;
    case 3:
      return data ^ latch;
    default:
      return data;
  }
}

}  // namespace

std::optional<uint32_t> VgaWindow::Offset(GuestPhysical address) const {
  if (!(registers_.miscellaneous & kMiscRam)) return std::nullopt;
  const auto in_window = static_cast<uint32_t>(address.value - kFirst);
  if (bochs_.Enabled()) return in_window < kBankBytes ? std::optional(in_window) : std::nullopt;
  const Aperture& aperture =
      kApertures[registers_.graphics[gfx::kMiscellaneous] >> gfx::kMiscMapShift & gfx::kMiscMapMask];
  const uint32_t offset = in_window - aperture.first;
  return offset < aperture.bytes ? std::optional(offset) : std::nullopt;
}

bool VgaWindow::Linear() const { return bochs_.Enabled() && bochs_.Mode().bits != 4; }

uint32_t VgaWindow::Cell(uint32_t index) const {
  if (!bochs_.Enabled()) return index % kVgaCells;
  return (bochs_.BankOffset() + index) % (memory_.Size() / kPlanes);
}

std::optional<VgaWindow::PlainBytes> VgaWindow::Plain() const {
  if (!(registers_.miscellaneous & kMiscRam)) return std::nullopt;
  if (Linear()) {
    const uint32_t offset = bochs_.BankOffset();
    return offset + kBankBytes <= memory_.Size() ? std::optional(PlainBytes{kFirst, kBankBytes, offset}) : std::nullopt;
  }
  const auto& g = registers_.graphics;
  const bool plain_writes = (g[gfx::kMode] & (gfx::kModeWriteMask | gfx::kModeReadCompare)) == 0 &&
                            g[gfx::kEnableSetReset] == 0 && g[gfx::kDataRotate] == 0 && g[gfx::kBitMask] == 0xFF;
  const bool chained = registers_.sequencer[seq::kMemoryMode] & seq::kMemoryChain4;
  if (bochs_.Enabled() || !chained || !plain_writes || registers_.sequencer[seq::kMapMask] != kAllPlanes)
    return std::nullopt;
  const Aperture& aperture = kApertures[g[gfx::kMiscellaneous] >> gfx::kMiscMapShift & gfx::kMiscMapMask];
  return PlainBytes{kFirst + aperture.first, aperture.bytes, 0};
}

uint64_t VgaWindow::ReadMmio(GuestPhysical address, unsigned size) {
  if (direct_) direct_->Used();
  uint64_t value = 0;
  for (unsigned i = 0; i < size; ++i) {
    const std::optional<uint32_t> offset = Offset(address + i);
    value |= uint64_t{offset ? ReadByte(*offset) : uint8_t{0xFF}} << (8 * i);
  }
  return value;
}

void VgaWindow::WriteMmio(GuestPhysical address, unsigned size, uint64_t value) {
  if (direct_) direct_->Used();
  for (unsigned i = 0; i < size; ++i) {
    if (const std::optional<uint32_t> offset = Offset(address + i))
      WriteByte(*offset, static_cast<uint8_t>(value >> (8 * i)));
  }
}

uint8_t VgaWindow::ReadByte(uint32_t offset) {
  if (Linear()) return memory_.Data()[(bochs_.BankOffset() + offset) % memory_.Size()];
  const auto& g = registers_.graphics;
  uint32_t cell = offset, plane = g[gfx::kReadMap] & (kPlanes - 1);
  if (registers_.sequencer[seq::kMemoryMode] & seq::kMemoryChain4) {
    cell = offset / kPlanes;
    plane = offset % kPlanes;
  } else if (g[gfx::kMode] & gfx::kModeOddEven) {
    cell = offset / 2;
    plane = (plane & 2) | (offset & 1);
  }
  std::memcpy(&latch_, memory_.Data() + size_t{Cell(cell)} * kPlanes, sizeof latch_);
  if (!(g[gfx::kMode] & gfx::kModeReadCompare)) return static_cast<uint8_t>(latch_ >> (8 * plane));
  const uint32_t differs = (latch_ ^ Spread(g[gfx::kColourCompare])) & Spread(g[gfx::kColourIgnore]);
  return static_cast<uint8_t>(~(differs | differs >> 8 | differs >> 16 | differs >> 24));
}

void VgaWindow::WriteByte(uint32_t offset, uint8_t value) {
  if (Linear()) {
    const uint32_t at = (bochs_.BankOffset() + offset) % memory_.Size();
    memory_.Data()[at] = value;
    memory_.Touch(at);
    return;
  }
  const uint8_t memory_mode = registers_.sequencer[seq::kMemoryMode];
  const uint32_t map_mask = registers_.sequencer[seq::kMapMask];
  if (memory_mode & seq::kMemoryChain4) return WriteCell(offset / kPlanes, value, map_mask & 1u << offset % kPlanes);
  if (!(memory_mode & seq::kMemorySequential))
    return WriteCell(offset / 2, value, map_mask & (offset & 1 ? 0xAu : 0x5u));
  WriteCell(offset, value, map_mask);
}

/// FreeVGA: the Graphics Mode Register's write modes.
void VgaWindow::WriteCell(uint32_t cell, uint8_t value, uint32_t planes) {
  const auto& g = registers_.graphics;
  const uint8_t rotated = std::rotr(value, g[gfx::kDataRotate] & 7);
  uint8_t bit_mask = g[gfx::kBitMask];
  uint32_t data = 0;
  switch (g[gfx::kMode] & gfx::kModeWriteMask) {
    case 0: {
      const uint32_t enabled = Spread(g[gfx::kEnableSetReset]);
      data = Combine(g[gfx::kDataRotate], (InAllPlanes(rotated) & ~enabled) | (Spread(g[gfx::kSetReset]) & enabled),
                     latch_);
      break;
    }
    case 1:
      data = latch_;
      bit_mask = 0xFF;
      break;
    case 2:
      data = Combine(g[gfx::kDataRotate], Spread(value), latch_);
      break;
    default:
      bit_mask &= rotated;
      data = Spread(g[gfx::kSetReset]);
  }
  const uint32_t bits = InAllPlanes(bit_mask);
  data = (data & bits) | (latch_ & ~bits);
  const uint32_t at = Cell(cell) * kPlanes;
  uint32_t stored;
  std::memcpy(&stored, memory_.Data() + at, sizeof stored);
  const uint32_t mask = Spread(planes);
  stored = (stored & ~mask) | (data & mask);
  std::memcpy(memory_.Data() + at, &stored, sizeof stored);
  memory_.Touch(at);
  if (planes & kFontPlane) ++font_generation_;
}

}  // namespace ring3
