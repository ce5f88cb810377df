#include "devices/shadow_ram.h"

#include <algorithm>
#include <cstring>

namespace ring3 {
namespace {

constexpr uint64_t kMostRom = 128u << 10;
constexpr uint64_t kHoleFirst = 0xA0000, kHoleBytes = 0x20000;
constexpr uint8_t kOpenBus = 0xFF;

}  // namespace

ShadowRam::ShadowRam(PhysicalMemory& memory, std::span<const uint8_t> rom)
    : memory_(memory), rom_(kEnd - kFirst, kOpenBus), ram_(kEnd - kFirst, 0) {
  const auto shown = rom.last(std::min<size_t>(rom.size(), kMostRom));
  std::copy(shown.begin(), shown.end(), rom_.end() - static_cast<ptrdiff_t>(shown.size()));
  // Pages with a kind of their own below; those whose reads and writes part are this device's.
  memory_.AttachMmio(GuestPhysical(kFirst), kEnd - kFirst, *this);
  for (unsigned segment = 0; segment < kSegments; ++segment) Set(segment, false, false);
}

std::span<uint8_t> ShadowRam::Aside(std::vector<uint8_t>& bytes, unsigned segment) const {
  return std::span(bytes).subspan(SegmentFirst(segment) - kFirst, SegmentBytes(segment));
}

void ShadowRam::Set(unsigned segment, bool read_ram, bool write_ram) {
  State& state = states_[segment];
  const GuestPhysical first(SegmentFirst(segment));
  const uint64_t bytes = SegmentBytes(segment);
  if (state.read_ram != read_ram) {
    const std::span<uint8_t> ram = Aside(ram_, segment);
    if (read_ram) {
      memory_.ReplacePages(first, ram);
    } else {
      std::memcpy(ram.data(), memory_.Flat(first), bytes);
      memory_.ReplacePages(first, Aside(rom_, segment));
    }
  }
  const PageKind kind = read_ram == write_ram ? (read_ram ? PageKind::kRam : PageKind::kRom)
                                              : (read_ram ? PageKind::kRom : PageKind::kMmio);
  state = {read_ram, write_ram};
  if (memory_.KindOf(first) != kind) memory_.SetKind(first, bytes, kind);
}

void ShadowRam::OpenVideoHole(bool open) {
  if (open == hole_open_) return;
  hole_open_ = open;
  memory_.SetKind(GuestPhysical(kHoleFirst), kHoleBytes, open ? PageKind::kRam : PageKind::kMmio);
}

void ShadowRam::Reset() {
  for (unsigned segment = 0; segment < kSegments; ++segment) Set(segment, false, false);
  OpenVideoHole(false);
}

uint64_t ShadowRam::ReadMmio(GuestPhysical address, unsigned size) {
  uint64_t value = 0;
  std::memcpy(&value, rom_.data() + (address.value - kFirst), size);
  return value;
}

void ShadowRam::WriteMmio(GuestPhysical address, unsigned size, uint64_t value) {
  std::memcpy(ram_.data() + (address.value - kFirst), &value, size);
}

}  // namespace ring3
