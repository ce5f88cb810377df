#include "devices/dma8237.h"

#include <algorithm>

namespace ring3 {
namespace {

// Registers beyond the channels' addresses and counts.
enum Register : unsigned {
  kCommandOrStatus = 8,
  kRequest,
  kSingleMask,
  kMode,
  kClearPointer,
  kMasterClear,
  kClearMask,
  kAllMasks
};

constexpr uint8_t kControllerDisable = 0x04;  // command
constexpr uint8_t kChannelMask = 0x03, kMaskOn = 0x04, kAllChannels = 0x0F;
constexpr unsigned kRequestShift = 4;  // status
// Mode.
constexpr uint8_t kDirection = 0x0C, kAutoInitialize = 0x10, kDecrement = 0x20, kOperation = 0xC0, kCascade = 0xC0;
constexpr unsigned kDirectionShift = 2;

constexpr uint32_t kPageShift16 = 16;
constexpr uint32_t kBlock = 0x10000;  // addresses wrap inside a page register's block, of bytes or words

bool IsWord(unsigned channel) { return channel >= 4; }

}  // namespace

/// 87h, 83h, 81h, 82h for channels 0 to 3; 8Fh, 8Bh, 89h, 8Ah for 4 to 7.
uint8_t DmaControllers::PagePorts::PageOf(unsigned channel) const {
  constexpr std::array<uint8_t, kChannels> kPorts = {0x7, 0x3, 0x1, 0x2, 0xF, 0xB, 0x9, 0xA};
  return pages_[kPorts[channel]];
}

void DmaControllers::Reset() {
  for (unsigned chip = 0; chip < chips_.size(); ++chip) {
    chips_[chip].requests = 0;
    ClearChip(chip);
  }
  for (Channel& channel : channels_) {
    channel.base_address = channel.base_count = channel.address = channel.count = 0;
    channel.mode = 0;
  }
  pages_.Reset();
}

void DmaControllers::ClearChip(unsigned chip) {
  const uint8_t requests = chips_[chip].requests;  // lines are not registers
  chips_[chip] = {.mask = kAllChannels, .requests = requests};
}

void DmaControllers::SetRequest(unsigned channel, bool asserted) {
  Chip& chip = chips_[channel / kPerChip];
  const auto bit = static_cast<uint8_t>(1u << channel % kPerChip);
  chip.requests = static_cast<uint8_t>(asserted ? chip.requests | bit : chip.requests & ~bit);
}

bool DmaControllers::Ready(unsigned channel) const {
  const auto on = [this](unsigned number) {
    const Chip& chip = chips_[number / kPerChip];
    return (chip.command & kControllerDisable) == 0 && (chip.mask >> number % kPerChip & 1) == 0;
  };
  return on(channel) && (channels_[channel].mode & kOperation) != kCascade && (IsWord(channel) || on(kPerChip));
}

DmaControllers::Direction DmaControllers::DirectionOf(unsigned channel) const {
  return static_cast<Direction>((channels_[channel].mode & kDirection) >> kDirectionShift);
}

uint8_t DmaControllers::ReadRegister(unsigned chip, unsigned number) {
  Chip& c = chips_[chip];
  if (number < kCommandOrStatus) {
    const Channel& channel = channels_[chip * kPerChip + number / 2];
    const uint16_t value = number % 2 == 0 ? channel.address : channel.count;
    const bool high = c.high_byte;
    c.high_byte = !high;
    return static_cast<uint8_t>(high ? value >> 8 : value);
  }
  switch (number) {
    case kCommandOrStatus: {
      const auto status = static_cast<uint8_t>(c.requests << kRequestShift | c.terminal_counts);
      c.terminal_counts = 0;
      return status;
    }
    case kAllMasks:
      return static_cast<uint8_t>(c.mask | 0xF0);
    default:
      return 0;  // the temporary register: there are no transfers from memory to memory
  }
}

void DmaControllers::WriteHalf(unsigned chip, unsigned number, uint8_t value) {
  Chip& c = chips_[chip];
  Channel& channel = channels_[chip * kPerChip + number / 2];
  uint16_t& base = number % 2 == 0 ? channel.base_address : channel.base_count;
  base = static_cast<uint16_t>(c.high_byte ? (base & 0x00FF) | value << 8 : (base & 0xFF00) | value);
  c.high_byte = !c.high_byte;
  (number % 2 == 0 ? channel.address : channel.count) = base;
}

void DmaControllers::WriteRegister(unsigned chip, unsigned number, uint8_t value) {
  Chip& c = chips_[chip];
  if (number < kCommandOrStatus) return WriteHalf(chip, number, value);
  const auto bit = static_cast<uint8_t>(1u << (value & kChannelMask));
  switch (number) {
    case kCommandOrStatus:
      c.command = value;
      return NoticeReady(chip);
    case kSingleMask:
      return SetMask(chip, static_cast<uint8_t>((value & kMaskOn) != 0 ? c.mask | bit : c.mask & ~bit));
    case kMode:
      channels_[chip * kPerChip + (value & kChannelMask)].mode = value;
      return;
    case kClearPointer:
      c.high_byte = false;
      return;
    case kMasterClear:
      return ClearChip(chip);
    case kClearMask:
      return SetMask(chip, 0);
    case kAllMasks:
      return SetMask(chip, value & kAllChannels);
    default:
      return;  // requests by software are for transfers from memory to memory
  }
}

void DmaControllers::SetMask(unsigned chip, uint8_t mask) {
  chips_[chip].mask = mask;
  NoticeReady(chip);
}

void DmaControllers::NoticeReady(unsigned chip) {
  for (unsigned channel = 0; channel < kChannels; ++channel) {
    // The second chip's cascade switches the first one.
    const bool concerned = channel / kPerChip == chip || chip == 1;
    const bool requested = (chips_[channel / kPerChip].requests >> channel % kPerChip & 1) != 0;
    if (concerned && requested && Ready(channel) && channels_[channel].ready) channels_[channel].ready();
  }
}

GuestPhysical DmaControllers::AddressOf(unsigned channel) const {
  const uint32_t page = pages_.PageOf(channel), address = channels_[channel].address;
  return GuestPhysical(IsWord(channel) ? (page & ~1u) << kPageShift16 | address << 1 : page << kPageShift16 | address);
}

void DmaControllers::ReachTerminalCount(unsigned channel) {
  Chip& chip = chips_[channel / kPerChip];
  Channel& c = channels_[channel];
  const auto bit = static_cast<uint8_t>(1u << channel % kPerChip);
  chip.terminal_counts |= bit;
  if ((c.mode & kAutoInitialize) != 0) {
    c.address = c.base_address;
    c.count = c.base_count;
  } else {
    chip.mask |= bit;
  }
}

/// Calls move(address, offset, bytes) for each stretch of ascending addresses. Stops at the terminal count.
template <class Move>
DmaControllers::Moved DmaControllers::Run(unsigned channel, size_t bytes, Move move) {
  Moved moved;
  Channel& c = channels_[channel];
  const size_t unit = IsWord(channel) ? 2 : 1;
  const bool down = (c.mode & kDecrement) != 0;
  while (Ready(channel) && bytes - moved.bytes >= unit && !moved.terminal_count) {
    size_t units = std::min<size_t>((bytes - moved.bytes) / unit, size_t{c.count} + 1);
    units = down ? 1 : std::min<size_t>(units, kBlock - c.address);
    move(AddressOf(channel), moved.bytes, units * unit);
    moved.bytes += units * unit;
    c.address = static_cast<uint16_t>(down ? c.address - 1 : c.address + units);
    moved.terminal_count = units == size_t{c.count} + 1;
    c.count = static_cast<uint16_t>(c.count - units);
    if (moved.terminal_count) ReachTerminalCount(channel);
  }
  return moved;
}

DmaControllers::Moved DmaControllers::ToMemory(unsigned channel, std::span<const uint8_t> data) {
  const Direction direction = DirectionOf(channel);
  if (direction != Direction::kToMemory && direction != Direction::kVerify) return {};
  return Run(channel, data.size(), [&](GuestPhysical address, size_t offset, size_t bytes) {
    if (direction == Direction::kToMemory) memory_.Write(address, data.subspan(offset, bytes));
  });
}

DmaControllers::Moved DmaControllers::FromMemory(unsigned channel, std::span<uint8_t> data) {
  const Direction direction = DirectionOf(channel);
  if (direction != Direction::kFromMemory && direction != Direction::kVerify) return {};
  return Run(channel, data.size(), [&](GuestPhysical address, size_t offset, size_t bytes) {
    if (direction == Direction::kFromMemory) memory_.Read(address, data.subspan(offset, bytes));
  });
}

}  // namespace ring3
