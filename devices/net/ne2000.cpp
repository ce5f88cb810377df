#include "devices/net/ne2000.h"

#include <algorithm>

#include "devices/net/ne2000_registers.h"

namespace ring3 {

using namespace ne2000;

namespace {

constexpr uint16_t kRealtek = 0x10EC, kDevice = 0x8029;
constexpr uint32_t kEthernetClass = 0x020000;
constexpr uint16_t kSubsystemVendor = 0x1AF4, kSubsystem = 0x1100;
constexpr uint32_t kPortCount = 0x20;
constexpr uint32_t kDataPort = 0x10, kResetPort = 0x18;

uint16_t WithLow(uint16_t value, uint8_t low) { return static_cast<uint16_t>((value & 0xFF00) | low); }
uint16_t WithHigh(uint16_t value, uint8_t high) { return static_cast<uint16_t>((value & 0x00FF) | high << 8); }

}  // namespace

Ne2000::Ne2000(Clock& clock, TimerQueue& timers, NetworkBackend& network, const MacAddress& mac)
    : PciDevice({.vendor = kRealtek,
                 .device = kDevice,
                 .class_code = kEthernetClass,
                 .subsystem_vendor = kSubsystemVendor,
                 .subsystem = kSubsystem}),
      clock_(clock),
      network_(network),
      ports_(*this),
      reminder_(timers, [this](uint64_t) { Remind(); }),
      ram_(kRamBytes) {
  AddBar(0, BarKind::kIo, kPortCount);
  SetRegister(pci::kInterruptPin, 1, 1);
  // Sixteen bytes, each twice as on a 16-bit card: the address, and 57h that says so.
  for (unsigned i = 0; i < kPromBytes; ++i) prom_[i] = i / 2 < mac.size() ? mac[i / 2] : i / 2 >= 14 ? 0x57 : 0;
  physical_ = mac;
  ChipReset();
  network_.Connect(*this);
}

void Ne2000::Reset() {
  PciDevice::Reset();
  ChipReset();
}

void Ne2000::ChipReset() {
  command_ = kStop | kRemoteAbort;
  interrupt_status_ = kResetState;
  interrupt_mask_ = 0;
  remote_left_ = 0;
  burst_ = 0;
  reminder_.Cancel();
  UpdateInterrupt();
}

// --- register access ---

uint32_t Ne2000::ReadRegister(uint32_t offset, unsigned size) {
  if (offset >= kDataPort && offset < kResetPort) return ReadData(size);
  uint32_t value = 0;
  for (unsigned i = 0; i < size; ++i) {
    const uint32_t at = (offset + i) % kPortCount;
    if (at >= kResetPort) ChipReset();
    const uint8_t byte = at < kDataPort ? ReadChip(at) : 0;
    value |= uint32_t{byte} << (8 * i);
  }
  return value;
}

void Ne2000::WriteRegister(uint32_t offset, unsigned size, uint32_t value) {
  if (offset >= kDataPort && offset < kResetPort) return WriteData(size, value);
  for (unsigned i = 0; i < size; ++i) {
    const uint32_t at = offset + i;
    if (at < kDataPort) WriteChip(at, static_cast<uint8_t>(value >> (8 * i)));
  }
}

uint8_t Ne2000::ReadChip(unsigned index) {
  if (index == 0) return command_;
  switch (command_ >> kSelectShift) {
    case 0:
      return ReadPage0(index);
    case 1:
      if (index < 7) return physical_[index - 1];
      return index == 7 ? current_ : multicast_[index - 8];
    case 2:
      return ReadPage2(index);
    default:
      return ReadPage3(index);
  }
}

uint8_t Ne2000::ReadPage0(unsigned index) {
  switch (index) {
    case 0x01:
    case 0x08:
      return Low(remote_address_);
    case 0x02:
    case 0x09:
      return High(remote_address_);
    case 0x03:
      return boundary_;
    case 0x04:
      return transmit_status_;
    case 0x07:
      return interrupt_status_;
    case 0x0A:
      return kIdLow;
    case 0x0B:
      return kIdHigh;
    case 0x0C:
      return receive_status_;
    default:
      return 0;  // collisions, FIFO, error counters
  }
}

uint8_t Ne2000::ReadPage2(unsigned index) const {
  switch (index) {
    case 0x01:
      return page_start_;
    case 0x02:
      return page_stop_;
    case 0x04:
      return transmit_page_;
    case 0x0C:
      return receive_config_;
    case 0x0D:
      return transmit_config_;
    case 0x0E:
      return data_config_;
    case 0x0F:
      return interrupt_mask_;
    default:
      return 0;
  }
}

uint8_t Ne2000::ReadPage3(unsigned index) const {
  switch (index) {
    case 0x01:
      return eeprom_;
    case 0x05:
      return config2_;
    case 0x06:
      return config3_;
    default:
      return 0;
  }
}

void Ne2000::WriteChip(unsigned index, uint8_t value) {
  if (index == 0) return WriteCommand(value);
  switch (command_ >> kSelectShift) {
    case 0:
      return WritePage0(index, value);
    case 1:
      return WritePage1(index, value);
    case 3:
      return WritePage3(index, value);
    default:
      return;
  }
}

void Ne2000::WritePage0(unsigned index, uint8_t value) {
  switch (index) {
    case 0x01:
      page_start_ = value;
      return;
    case 0x02:
      page_stop_ = value;
      return;
    case 0x03:
      boundary_ = value;
      if (!HasUnread()) burst_ = 0;
      return network_.ReceiveReady();
    case 0x04:
      transmit_page_ = value;
      return;
    case 0x05:
      transmit_bytes_ = WithLow(transmit_bytes_, value);
      return;
    case 0x06:
      transmit_bytes_ = WithHigh(transmit_bytes_, value);
      return;
    case 0x07:
      interrupt_status_ &= static_cast<uint8_t>(~value | kResetState);
      UpdateInterrupt();
      if (value & kReceived) ReceiveAcknowledged();
      return;
    case 0x08:
      remote_start_ = WithLow(remote_start_, value);
      return;
    case 0x09:
      remote_start_ = WithHigh(remote_start_, value);
      return;
    case 0x0A:
      remote_bytes_ = WithLow(remote_bytes_, value);
      return;
    case 0x0B:
      remote_bytes_ = WithHigh(remote_bytes_, value);
      return;
    case 0x0C:
      receive_config_ = value & 0x3F;
      return network_.ReceiveReady();
    case 0x0D:
      transmit_config_ = value & 0x1F;
      return;
    case 0x0E:
      data_config_ = value & 0x7F;
      return;
    case 0x0F:
      interrupt_mask_ = value & 0x7F;
      return UpdateInterrupt();
    default:
      return;
  }
}

void Ne2000::WritePage1(unsigned index, uint8_t value) {
  if (index < 7) {
    physical_[index - 1] = value;
  } else if (index == 7) {
    current_ = value;
  } else {
    multicast_[index - 8] = value;
  }
}

void Ne2000::WritePage3(unsigned index, uint8_t value) {
  if (index == 0x01) eeprom_ = value & kUnlocked;
  if ((eeprom_ & kUnlocked) != kUnlocked) return;
  if (index == 0x05) config2_ = value;
  if (index == 0x06) config3_ = value;
}

void Ne2000::WriteCommand(uint8_t value) {
  command_ = static_cast<uint8_t>(value & ~kTransmit);  // over before anyone can look
  if (value & kStop) {
    interrupt_status_ |= kResetState;
  } else if (value & kStart) {
    interrupt_status_ &= static_cast<uint8_t>(~kResetState);
  }
  const uint8_t remote = value & kRemoteMask;
  if (remote & kRemoteAbort) {
    remote_left_ = 0;
  } else if (remote != 0) {
    StartRemote();
  }
  if ((value & kTransmit) && !(value & kStop)) Transmit();
}

// --- remote DMA ---

void Ne2000::StartRemote() {
  sending_packet_ = (command_ & kRemoteMask) == kSendPacket;
  if (sending_packet_) {
    const auto header = static_cast<uint16_t>(boundary_ << 8);
    remote_start_ = header;
    remote_bytes_ = static_cast<uint16_t>(ReadMemory(static_cast<uint16_t>(header + 2)) |
                                          ReadMemory(static_cast<uint16_t>(header + 3)) << 8);
  }
  remote_address_ = remote_start_;
  remote_left_ = remote_bytes_;
  if (remote_left_ == 0) Raise(kRemoteDone);
}

uint32_t Ne2000::ReadData(unsigned size) {
  const uint8_t remote = command_ & kRemoteMask;
  if ((remote != kRemoteRead && remote != kSendPacket) || remote_left_ == 0) return ~0u >> (32 - 8 * size);
  // A chip that is set to words moves two bytes whatever the processor takes of them.
  const unsigned moved = std::max(size, data_config_ & kWordTransfer ? 2u : 1u);
  const unsigned unit = data_config_ & kWordTransfer ? moved : 1;
  uint32_t value = 0;
  for (unsigned i = 0; i < unit && i < size; ++i) {
    value |= uint32_t{ReadMemory(static_cast<uint16_t>(remote_address_ + i))} << (8 * i);
  }
  AdvanceRemote(unit);
  return value;
}

void Ne2000::WriteData(unsigned size, uint32_t value) {
  if ((command_ & kRemoteMask) != kRemoteWrite || remote_left_ == 0) return;
  const unsigned unit = data_config_ & kWordTransfer ? std::max(size, 2u) : 1;
  for (unsigned i = 0; i < unit && i < size; ++i) {
    WriteMemory(static_cast<uint16_t>(remote_address_ + i), static_cast<uint8_t>(value >> (8 * i)));
  }
  AdvanceRemote(unit);
}

void Ne2000::AdvanceRemote(unsigned bytes) {
  remote_address_ = static_cast<uint16_t>(remote_address_ + bytes);
  if (remote_address_ == page_stop_ << 8) remote_address_ = static_cast<uint16_t>(page_start_ << 8);
  remote_left_ = bytes < remote_left_ ? static_cast<uint16_t>(remote_left_ - bytes) : 0;
  if (remote_left_ != 0) return;
  if (sending_packet_) {
    boundary_ = ReadMemory(static_cast<uint16_t>((boundary_ << 8) + 1));
    sending_packet_ = false;
    network_.ReceiveReady();
  }
  Raise(kRemoteDone);
}

uint8_t Ne2000::ReadMemory(uint16_t address) const {
  if (address < kPromBytes) return prom_[address];
  const unsigned at = address - kRamFirst;
  return address >= kRamFirst && at < kRamBytes ? ram_[at] : 0xFF;
}

void Ne2000::WriteMemory(uint16_t address, uint8_t value) {
  const unsigned at = address - kRamFirst;
  if (address >= kRamFirst && at < kRamBytes) ram_[at] = value;
}

void Ne2000::Raise(uint8_t interrupts) {
  interrupt_status_ |= interrupts;
  UpdateInterrupt();
}

void Ne2000::UpdateInterrupt() { SetInterrupt((interrupt_status_ & interrupt_mask_) != 0); }

}  // namespace ring3
