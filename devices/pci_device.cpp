#include "devices/pci_device.h"

#include <algorithm>
#include <bit>
#include <stdexcept>
#include <utility>

#include "devices/pci_bus.h"

namespace ring3 {
namespace {

constexpr uint32_t kBarIo = 0x1;
constexpr uint32_t kBarPrefetchable = 0x8;
constexpr uint32_t kIoFlags = 0x3;
constexpr uint32_t kMemoryFlags = 0xF;
constexpr uint16_t kWritableCommandBits = pci::kCommandIo | pci::kCommandMemory | pci::kCommandMaster |
                                          pci::kCommandParity | pci::kCommandSerr | pci::kCommandInterruptDisable;
constexpr uint16_t kStatusErrors = 0xF900;  // aborts, SERR#, parity errors

constexpr uint32_t kSmallestRom = 2048;
constexpr uint32_t kRomAddress = 0xFFFFF800;

constexpr uint8_t BarOffset(unsigned index) {
  return index == PciDevice::kRomBar ? pci::kRomBar : static_cast<uint8_t>(pci::kBar0 + 4 * index);
}

/// True when the write may move, show or hide something, or change the interrupt pin.
bool ChangesBus(unsigned first, unsigned end) {
  const auto touches = [&](unsigned from, unsigned to) { return first < to && from < end; };
  return touches(pci::kCommand, pci::kCommand + 2) || touches(pci::kBar0, pci::kBarsEnd) ||
         touches(pci::kRomBar, pci::kRomBar + 4);
}

template <class Space>
void Store(Space& space, uint8_t offset, unsigned size, uint32_t value) {
  for (unsigned i = 0; i < size; ++i) space[offset + i] = static_cast<uint8_t>(value >> (8 * i));
}

}  // namespace

PciDevice::PciDevice(const Identity& identity) {
  SetRegister(pci::kVendorId, 2, identity.vendor);
  SetRegister(pci::kDeviceId, 2, identity.device);
  SetRegister(pci::kRevision, 4, identity.class_code << 8 | identity.revision);
  SetRegister(pci::kSubsystemVendorId, 2, identity.subsystem_vendor);
  SetRegister(pci::kSubsystemId, 2, identity.subsystem);
  AllowWrites(pci::kCommand, 2, kWritableCommandBits);
  ClearOnWrite(pci::kStatus, 2, kStatusErrors);
  AllowWrites(pci::kInterruptLine, 1, 0xFF);
}

void PciDevice::SetRegister(uint8_t offset, unsigned size, uint32_t value) {
  Store(config_, offset, size, value);
  Store(reset_values_, offset, size, value);
}

void PciDevice::ForceRegister(uint8_t offset, unsigned size, uint32_t value) { Store(config_, offset, size, value); }

void PciDevice::AllowWrites(uint8_t offset, unsigned size, uint32_t mask) { Store(writable_, offset, size, mask); }

void PciDevice::ClearOnWrite(uint8_t offset, unsigned size, uint32_t mask) {
  Store(clear_on_write_, offset, size, mask);
}

void PciDevice::AddBar(unsigned index, BarKind kind, uint32_t size) {
  const uint32_t minimum = kind == BarKind::kIo ? kIoFlags + 1 : kMemoryFlags + 1;
  if (index >= kBarCount || size < minimum || (size & (size - 1)) != 0) throw std::invalid_argument("bad PCI BAR");
  uint32_t flags = 0;
  if (kind == BarKind::kIo) flags = kBarIo;
  if (kind == BarKind::kPrefetchableMemory) flags = kBarPrefetchable;
  SetRegister(BarOffset(index), 4, flags);
  AllowWrites(BarOffset(index), 4, ~(size - 1));
  bar_bytes_[index] = size;
}

void PciDevice::SetRom(std::vector<uint8_t> bytes) {
  if (bytes.empty()) return;
  const auto size = std::bit_ceil(std::max(kSmallestRom, static_cast<uint32_t>(bytes.size())));
  rom_.emplace(std::move(bytes));
  AllowWrites(pci::kRomBar, 4, ~(size - 1) | pci::kRomEnable);
  bar_bytes_[kRomBar] = size;
}

void PciDevice::Reset() {
  config_ = reset_values_;
  SetInterrupt(false);
}

void PciDevice::SetInterrupt(bool asserted) {
  interrupt_ = asserted;
  const uint32_t status = ReadConfig(pci::kStatus, 2);
  Store(config_, pci::kStatus, 2, asserted ? status | pci::kStatusInterrupt : status & ~pci::kStatusInterrupt);
  if (bus_) bus_->UpdateInterrupts();
}

bool PciDevice::InterruptDriven() const {
  return interrupt_ && (ReadConfig(pci::kCommand, 2) & pci::kCommandInterruptDisable) == 0;
}

uint32_t PciDevice::BarAddress(unsigned index) const {
  const uint32_t bar = ReadConfig(BarOffset(index), 4);
  const uint32_t command = ReadConfig(pci::kCommand, 2);
  if (index == kRomBar) {
    const bool shown = (bar & pci::kRomEnable) != 0 && (command & pci::kCommandMemory) != 0;
    return shown ? bar & kRomAddress : 0;
  }
  const bool io = (bar & kBarIo) != 0;
  if ((command & (io ? pci::kCommandIo : pci::kCommandMemory)) == 0) return 0;
  return bar & ~(io ? kIoFlags : kMemoryFlags);
}

uint32_t PciDevice::ReadConfig(uint8_t offset, unsigned size) const {
  uint32_t value = 0;
  for (unsigned i = 0; i < size; ++i) value |= uint32_t{config_[offset + i]} << (8 * i);
  return value;
}

void PciDevice::WriteConfig(uint8_t offset, unsigned size, uint32_t value) {
  for (unsigned i = 0; i < size; ++i) {
    const auto byte = static_cast<uint8_t>(value >> (8 * i));
    uint8_t& target = config_[offset + i];
    const uint8_t mask = writable_[offset + i];
    target = static_cast<uint8_t>((target & ~mask) | (byte & mask));
    target &= static_cast<uint8_t>(~(byte & clear_on_write_[offset + i]));
  }
  if (bus_ && ChangesBus(offset, offset + size)) {
    bus_->UpdateMappings();
    bus_->UpdateInterrupts();
  }
  ConfigWritten(offset, size);
}

void PciDevice::ConfigWritten(uint8_t, unsigned) {}

}  // namespace ring3
