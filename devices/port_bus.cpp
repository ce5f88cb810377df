#include "devices/port_bus.h"

#include <algorithm>
#include <utility>

namespace ring3 {
namespace {

constexpr unsigned kPortCount = 0x10000;
constexpr size_t kMaxRanges = 256;

constexpr uint32_t AllOnes(unsigned size) { return size == 4 ? 0xFFFFFFFFu : (1u << (8 * size)) - 1; }

std::string Hex(unsigned value) {
  std::string text;
  do {
    text.insert(text.begin(), "0123456789ABCDEF"[value & 0xF]);
    value >>= 4;
  } while (value != 0);
  return text + "h";
}

}  // namespace

PortBus::PortBus() : ranges_{{0, kPortCount, nullptr, "unclaimed"}}, owner_(kPortCount, 0) {}

void PortBus::Attach(uint16_t first, unsigned count, PortDevice& device, std::string name) {
  if (count == 0 || first + count > kPortCount) throw std::out_of_range(name + ": no such port range");
  const size_t entry = FreeEntry();
  if (entry == kMaxRanges) throw std::out_of_range(name + ": too many port ranges");
  for (unsigned port = first; port < first + count; ++port) {
    if (owner_[port] == 0) continue;
    throw PortOverlap(name + " claims port " + Hex(port) + ", which belongs to " + ranges_[owner_[port]].name);
  }
  if (entry == ranges_.size()) ranges_.emplace_back();
  ranges_[entry] = {first, count, &device, std::move(name)};
  std::fill_n(owner_.begin() + first, count, static_cast<uint8_t>(entry));
}

/// An entry that was given back, or a new one.
size_t PortBus::FreeEntry() const {
  const auto free = std::find_if(ranges_.begin(), ranges_.end(), [](const Range& range) { return range.count == 0; });
  return static_cast<size_t>(free - ranges_.begin());
}

void PortBus::Detach(uint16_t first, const PortDevice& device) {
  Range& range = ranges_[owner_[first]];
  if (range.device != &device || range.first != first) return;
  std::fill_n(owner_.begin() + first, range.count, uint8_t{0});
  range = {0, 0, nullptr, {}};
}

bool PortBus::IsFree(uint16_t first, unsigned count) const {
  if (count == 0 || first + count > kPortCount || FreeEntry() == kMaxRanges) return false;
  const auto begin = owner_.begin() + first;
  return std::all_of(begin, begin + count, [](uint8_t owner) { return owner == 0; });
}

bool PortBus::OneOwner(uint16_t port, unsigned size) const {
  // A range is contiguous, so the ends decide for a claimed one; a short claimed range may lie inside an unclaimed run.
  const unsigned last = port + size - 1;
  if (last >= kPortCount || owner_[last] != owner_[port]) return false;
  return owner_[port] != 0 || size < 4 || (owner_[port + 1] == 0 && owner_[port + 2] == 0);
}

uint32_t PortBus::ReadDevice(uint16_t port, unsigned size) {
  if (OneOwner(port, size)) {
    PortDevice* device = ranges_[owner_[port]].device;
    return device ? device->ReadPort(port, size) & AllOnes(size) : AllOnes(size);
  }
  uint32_t value = 0;
  for (unsigned i = 0; i < size; ++i) value |= ReadDevice(static_cast<uint16_t>(port + i), 1) << (8 * i);
  return value;
}

void PortBus::WriteDevice(uint16_t port, unsigned size, uint32_t value) {
  if (OneOwner(port, size)) {
    PortDevice* device = ranges_[owner_[port]].device;
    if (device) device->WritePort(port, size, value & AllOnes(size));
    return;
  }
  for (unsigned i = 0; i < size; ++i) WriteDevice(static_cast<uint16_t>(port + i), 1, value >> (8 * i));
}

}  // namespace ring3
