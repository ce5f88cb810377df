#include "devices/ide/piix_ide.h"

namespace ring3 {
namespace {

constexpr uint16_t kIntel = 0x8086, k82371SbIde = 0x7010;
constexpr uint32_t kIdeClass = 0x010180;  // channels at their ISA places; bus master
constexpr uint16_t kStatusReset = 0x0280;
constexpr uint8_t kTiming = 0x40, kSlaveTiming = 0x44;  // IDETIM, two bytes for each channel; SIDETIM
constexpr uint16_t kDecode = 0x8000;
constexpr uint32_t kBusMasterPorts = 16;

}  // namespace

PiixIde::PiixIde(PhysicalMemory& memory, IrqLine primary, IrqLine secondary)
    : PciDevice({.vendor = kIntel, .device = k82371SbIde, .class_code = kIdeClass}),
      bus_masters_{IdeBusMaster(memory, [this] { return IsMaster(); }),
                   IdeBusMaster(memory, [this] { return IsMaster(); })},
      channels_{IdeChannel(primary, bus_masters_[0]), IdeChannel(secondary, bus_masters_[1])} {
  SetRegister(pci::kStatus, 2, kStatusReset);
  AllowWrites(pci::kCommand, 2, pci::kCommandIo | pci::kCommandMaster);
  for (unsigned i = 0; i < kChannelCount; ++i) {
    const auto at = static_cast<uint8_t>(kTiming + 2 * i);
    SetRegister(at, 2, kDecode);
    AllowWrites(at, 2, 0xFFFF);
  }
  AllowWrites(kSlaveTiming, 1, 0xFF);
  AddBar(kBusMasterBar, BarKind::kIo, kBusMasterPorts);
}

void PiixIde::Reset() {
  PciDevice::Reset();
  for (IdeBusMaster& master : bus_masters_) master.Reset();
  UpdateDecoding();
  for (IdeChannel& channel : channels_) channel.Reset();
}

void PiixIde::SetUp(uint16_t base) {
  WriteConfig(pci::kBar0 + 4 * kBusMasterBar, 4, base);
  WriteConfig(pci::kCommand, 2, pci::kCommandIo | pci::kCommandMaster);
}

void PiixIde::ConfigWritten(uint8_t offset, unsigned size) {
  PciDevice::ConfigWritten(offset, size);
  UpdateDecoding();
}

void PiixIde::UpdateDecoding() {
  for (unsigned i = 0; i < kChannelCount; ++i) {
    channels_[i].SetDecoded((ReadConfig(static_cast<uint8_t>(kTiming + 2 * i), 2) & kDecode) != 0);
  }
}

uint32_t PiixIde::ReadBusMasters(uint16_t port, unsigned size) {
  uint32_t value = 0;
  for (unsigned i = 0; i < size; ++i) {
    const unsigned at = (port + i) % kBusMasterPorts;
    const IdeBusMaster& master = bus_masters_[at / IdeBusMaster::kRegisterCount];
    value |= uint32_t{master.ReadRegister(at % IdeBusMaster::kRegisterCount)} << (8 * i);
  }
  return value;
}

void PiixIde::WriteBusMasters(uint16_t port, unsigned size, uint32_t value) {
  for (unsigned i = 0; i < size; ++i) {
    const unsigned at = (port + i) % kBusMasterPorts;
    IdeBusMaster& master = bus_masters_[at / IdeBusMaster::kRegisterCount];
    master.WriteRegister(at % IdeBusMaster::kRegisterCount, static_cast<uint8_t>(value >> (8 * i)));
  }
}

}  // namespace ring3
