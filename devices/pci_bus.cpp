#include "devices/pci_bus.h"

#include <stdexcept>

#include "devices/pci_bar.h"

namespace ring3 {
namespace {

// Address register.
constexpr uint32_t kEnable = 0x80000000;
constexpr uint32_t kAddressWritable = 0x80FFFFFC;
constexpr unsigned kBusShift = 16;
constexpr unsigned kFunctionShift = 8;
constexpr uint32_t kRegisterMask = 0xFC;
constexpr uint16_t kLaneMask = 3;

constexpr uint32_t kNoDevice = 0xFFFFFFFF;  // master abort

// 82441FX.
constexpr uint16_t kIntel = 0x8086;
constexpr uint16_t k82441Fx = 0x1237;
constexpr uint32_t kHostBridgeClass = 0x060000;
constexpr uint8_t k82441FxRevision = 2;
constexpr uint8_t kPmcConfiguration = 0x50;
constexpr uint8_t kDramControl = 0x57;
constexpr uint8_t kPam0 = 0x59;  // PAM0..PAM6
constexpr uint8_t kPamCount = 7;
constexpr uint8_t kPamWritable = 0x33;  // read and write enable of two segments
constexpr uint8_t kDramBoundary0 = 0x60;
constexpr uint8_t kDramBoundaryCount = 8;
constexpr uint8_t kSmram = 0x72;
constexpr uint8_t kSmramReset = 0x02;
constexpr uint8_t kSmramWritable = 0x78;
constexpr uint8_t kSmramOpen = 0x40, kSmramClosed = 0x20, kSmramLock = 0x10, kSmramEnable = 0x08;
constexpr uint32_t kPamRead = 1, kPamWrite = 2;
constexpr unsigned kPamHighShift = 4;
constexpr uint16_t kStatusReset = 0x0280;  // fast back-to-back, medium DEVSEL timing

}  // namespace

uint32_t PciBus::ReadAddress(uint16_t port, unsigned size) {
  return size == 4 ? address_ : byte_ports_.ReadPort(port, size);
}

void PciBus::WriteAddress(uint16_t port, unsigned size, uint32_t value) {
  if (size == 4) {
    address_ = value & kAddressWritable;
  } else {
    byte_ports_.WritePort(port, size, value);
  }
}

uint32_t PciBus::ReadData(uint16_t port, unsigned size) {
  PciDevice* device = Selected();
  if (!device) return kNoDevice;
  device->ConfigReadNext(SelectedOffset(port), size);
  return device->ReadConfig(SelectedOffset(port), size);
}

void PciBus::WriteData(uint16_t port, unsigned size, uint32_t value) {
  if (PciDevice* device = Selected()) device->WriteConfig(SelectedOffset(port), size, value);
}

PciBus::PciBus(PortDevice& byte_ports) : byte_ports_(byte_ports) {}

PciBus::~PciBus() = default;

void PciBus::Connect(PortBus* ports, PhysicalMemory* memory, PirqSink* pirqs) {
  ports_ = ports;
  memory_ = memory;
  pirqs_ = pirqs;
}

void PciBus::Add(unsigned device, unsigned function, PciDevice& target) {
  if (!functions_.emplace(device << 3 | function, &target).second) throw std::logic_error("PCI function placed twice");
  target.bus_ = this;
  for (unsigned index = 0; index <= PciDevice::kRomBar; ++index) {
    if (target.BarBytes(index) != 0) bars_.push_back(std::make_unique<PciBar>(target, index));
  }
}

void PciBus::Reset() {
  address_ = 0;
  for (auto& [place, device] : functions_) device->Reset();
  UpdateMappings();
}

/// What moves away first makes room for what comes.
void PciBus::UpdateMappings() {
  for (const auto& bar : bars_) bar->UnmapIfMoved(ports_, memory_);
  for (const auto& bar : bars_) bar->MapIfWanted(ports_, memory_);
}

void PciBus::UpdateInterrupts() {
  if (!pirqs_) return;
  std::array<bool, kPirqCount> asserted{};
  for (const auto& [place, device] : functions_) {
    const unsigned pin = device->ReadConfig(pci::kInterruptPin, 1);
    if (pin != 0 && device->InterruptDriven()) asserted[PirqOf(place >> 3, pin)] = true;
  }
  for (unsigned pirq = 0; pirq < kPirqCount; ++pirq) pirqs_->SetPirq(pirq, asserted[pirq]);
}

PciDevice* PciBus::Selected() const {
  if ((address_ & kEnable) == 0) return nullptr;
  const uint32_t place = (address_ & ~kEnable) >> kFunctionShift;
  if (place >> (kBusShift - kFunctionShift) != 0) return nullptr;  // only bus 0 exists
  const auto found = functions_.find(place);
  return found == functions_.end() ? nullptr : found->second;
}

uint8_t PciBus::SelectedOffset(uint16_t port) const {
  return static_cast<uint8_t>((address_ & kRegisterMask) | (port & kLaneMask));
}

PciHostBridge::PciHostBridge(ShadowRam* shadow)
    : PciDevice({.vendor = kIntel, .device = k82441Fx, .class_code = kHostBridgeClass, .revision = k82441FxRevision}),
      shadow_(shadow) {
  SetRegister(pci::kStatus, 2, kStatusReset);
  SetRegister(pci::kCommand, 2, pci::kCommandMemory | pci::kCommandMaster);
  AllowWrites(pci::kCommand, 2, pci::kCommandParity | pci::kCommandSerr);  // memory and bus master are hard-wired
  AllowWrites(pci::kInterruptLine, 1, 0);
  AllowWrites(kPmcConfiguration, 2, 0xFFFF);
  AllowWrites(kDramControl, 1, 0xFF);
  for (unsigned i = 0; i < kPamCount; ++i) AllowWrites(static_cast<uint8_t>(kPam0 + i), 1, kPamWritable);
  AllowWrites(kPam0, 1, kPamWritable & 0xF0);  // PAM0 has one segment, F0000h
  for (unsigned i = 0; i < kDramBoundaryCount; ++i) AllowWrites(static_cast<uint8_t>(kDramBoundary0 + i), 1, 0xFF);
  SetRegister(kSmram, 1, kSmramReset);
  AllowWrites(kSmram, 1, kSmramWritable);
}

void PciHostBridge::Reset() {
  PciDevice::Reset();
  AllowWrites(kSmram, 1, kSmramWritable);  // the lock is off
  UpdateShadow();
}

void PciHostBridge::ConfigWritten(uint8_t offset, unsigned size) {
  const unsigned end = offset + size;
  const bool smram = offset <= kSmram && kSmram < end;
  if (smram) LockSmram();
  if (smram || (offset < kPam0 + kPamCount && kPam0 < end)) UpdateShadow();
}

/// D_LCK clears D_OPEN and makes itself and D_OPEN read-only until RESET.
void PciHostBridge::LockSmram() {
  const uint32_t smram = ReadConfig(kSmram, 1);
  if ((smram & kSmramLock) == 0) return;
  ForceRegister(kSmram, 1, smram & ~uint32_t{kSmramOpen});
  AllowWrites(kSmram, 1, kSmramClosed);
}

/// PAM0's high half is F0000h; the others' halves are the segments of 16 KiB in turn.
void PciHostBridge::UpdateShadow() {
  if (!shadow_) return;
  for (unsigned segment = 0; segment < ShadowRam::kSegments; ++segment) {
    const bool last = segment == ShadowRam::kSegments - 1;
    const uint32_t pam = ReadConfig(static_cast<uint8_t>(last ? kPam0 : kPam0 + 1 + segment / 2), 1);
    const uint32_t rights = last || segment % 2 != 0 ? pam >> kPamHighShift : pam;
    shadow_->Set(segment, (rights & kPamRead) != 0, (rights & kPamWrite) != 0);
  }
  const uint32_t smram = ReadConfig(kSmram, 1);
  shadow_->OpenVideoHole((smram & (kSmramOpen | kSmramClosed | kSmramEnable)) == (kSmramOpen | kSmramEnable));
}

}  // namespace ring3
