#include "devices/piix.h"

#include "devices/layout.h"

namespace ring3 {
namespace {

constexpr uint16_t kIntel = 0x8086;
constexpr uint8_t kMultiFunction = 0x80;

// 82371SB, function 0.
constexpr uint16_t k82371SbIsa = 0x7000;
constexpr uint32_t kIsaBridgeClass = 0x060100;
constexpr uint16_t kIsaCommand = 0x0007;  // I/O, memory and bus master are always on
constexpr uint16_t kIsaStatus = 0x0200;   // medium DEVSEL timing
constexpr uint8_t kIoRecoveryTimer = 0x4C;
constexpr uint8_t kBusChipSelect = 0x4E;
constexpr uint8_t kPirqRoute = 0x60;
constexpr uint8_t kTopOfMemory = 0x69;
constexpr uint8_t kMotherboardIrq = 0x70;
constexpr uint8_t kMotherboardDma = 0x76;
constexpr uint8_t kProgrammableChipSelect = 0x78;
constexpr uint8_t kSmiControl = 0xA0;
// A PIRQ route register.
constexpr uint8_t kRouteOff = 0x80;
constexpr uint8_t kRouteIrq = 0x0F;
constexpr uint16_t kRoutable = 0xDEF8;  // IRQ 3-7, 9-12, 14, 15

// 82371AB, function 3.
constexpr uint16_t k82371AbPm = 0x7113;
constexpr uint32_t kOtherBridgeClass = 0x068000;
constexpr uint8_t kPmRevision = 3;
constexpr uint16_t kPmStatus = 0x0280;
constexpr uint8_t kPmBase = 0x40;
constexpr uint32_t kPmBaseAddress = 0xFFC0;
constexpr uint32_t kPmBaseIo = 0x0001;
constexpr uint8_t kDeviceActivityB = 0x58;
constexpr uint32_t kApmcSmiEnable = 0x02000000;
constexpr uint8_t kPmMisc = 0x80;
constexpr uint8_t kPmIoEnable = 0x01;
constexpr uint8_t kPinA = 1;

}  // namespace

PiixIsaBridge::PiixIsaBridge(IrqRouter& router)
    : PciDevice({.vendor = kIntel, .device = k82371SbIsa, .class_code = kIsaBridgeClass}), router_(router) {
  SetRegister(pci::kHeaderType, 1, kMultiFunction);
  SetRegister(pci::kCommand, 2, kIsaCommand);
  AllowWrites(pci::kCommand, 2, pci::kCommandParity | pci::kCommandSerr);
  SetRegister(pci::kStatus, 2, kIsaStatus);
  AllowWrites(pci::kInterruptLine, 1, 0);
  SetRegister(kIoRecoveryTimer, 1, 0x4D);
  AllowWrites(kIoRecoveryTimer, 1, 0xFF);
  SetRegister(kBusChipSelect, 2, 0x0003);
  AllowWrites(kBusChipSelect, 2, 0x01FF);
  for (unsigned pirq = 0; pirq < PciBus::kPirqCount; ++pirq) {
    SetRegister(static_cast<uint8_t>(kPirqRoute + pirq), 1, kRouteOff);
    AllowWrites(static_cast<uint8_t>(kPirqRoute + pirq), 1, kRouteOff | kRouteIrq);
  }
  SetRegister(kTopOfMemory, 1, 0x02);
  AllowWrites(kTopOfMemory, 1, 0xFE);
  SetRegister(kMotherboardIrq, 1, 0x80);
  AllowWrites(kMotherboardIrq, 1, 0xEF);
  SetRegister(kMotherboardDma, 2, 0x0C0C);
  AllowWrites(kMotherboardDma, 2, 0x8F8F);
  SetRegister(kProgrammableChipSelect, 2, 0x0002);
  AllowWrites(kProgrammableChipSelect, 2, 0xFFFF);
  SetRegister(kSmiControl, 1, 0x08);
  AllowWrites(kSmiControl, 1, 0x1F);
}

void PiixIsaBridge::Reset() {
  PciDevice::Reset();
  UpdateRoutes();
}

void PiixIsaBridge::RoutePirqs(unsigned first, unsigned second) {
  for (unsigned pirq = 0; pirq < PciBus::kPirqCount; ++pirq) {
    WriteConfig(static_cast<uint8_t>(kPirqRoute + pirq), 1, pirq < 2 ? first : second);
  }
}

void PiixIsaBridge::ConfigWritten(uint8_t offset, unsigned) {
  if ((offset & ~3) == kPirqRoute) UpdateRoutes();
}

void PiixIsaBridge::UpdateRoutes() {
  for (unsigned pirq = 0; pirq < PciBus::kPirqCount; ++pirq) {
    const uint32_t route = ReadConfig(static_cast<uint8_t>(kPirqRoute + pirq), 1);
    const unsigned irq = route & kRouteIrq;
    const bool leads = (route & kRouteOff) == 0 && (kRoutable >> irq & 1) != 0;
    router_.Route(pirq, leads ? std::optional(irq) : std::nullopt);
  }
}

PiixPowerManagement::PiixPowerManagement(AcpiPm& registers, PortBus& ports)
    : PciDevice({.vendor = kIntel, .device = k82371AbPm, .class_code = kOtherBridgeClass, .revision = kPmRevision}),
      registers_(registers),
      ports_(ports) {
  SetRegister(pci::kStatus, 2, kPmStatus);
  AllowWrites(pci::kCommand, 2, pci::kCommandIo);
  SetRegister(pci::kInterruptLine, 1, layout::kSciIrq);
  SetRegister(pci::kInterruptPin, 1, kPinA);
  SetRegister(kPmBase, 4, kPmBaseIo);
  AllowWrites(kPmBase, 4, kPmBaseAddress);
  SetRegister(kDeviceActivityB, 4, kApmcSmiEnable);
  AllowWrites(kPmMisc, 1, kPmIoEnable);
}

void PiixPowerManagement::Reset() {
  PciDevice::Reset();
  UpdateBase();
}

void PiixPowerManagement::SetBase(uint16_t base) {
  WriteConfig(kPmBase, 4, base);
  WriteConfig(kPmMisc, 1, kPmIoEnable);
}

void PiixPowerManagement::ConfigWritten(uint8_t, unsigned) { UpdateBase(); }

void PiixPowerManagement::UpdateBase() {
  const auto base = static_cast<uint16_t>(ReadConfig(kPmBase, 4) & kPmBaseAddress);
  const bool on = base != 0 && (ReadConfig(kPmMisc, 1) & kPmIoEnable) != 0;
  if (shown_ && on && *shown_ == base) return;
  if (shown_) ports_.Detach(*shown_, registers_);
  shown_.reset();
  if (!on || !ports_.IsFree(base, layout::kPmPortCount)) return;
  ports_.Attach(base, layout::kPmPortCount, registers_, "ACPI power management");
  shown_ = base;
}

}  // namespace ring3
