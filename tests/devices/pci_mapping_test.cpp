// What PCI functions show on the bus, and where their interrupts go.
#include <catch2/catch.hpp>

#include "devices/irq_router.h"
#include "devices/pci_bus.h"
#include "devices/pic8259.h"
#include "devices/piix.h"
#include "devices/system_ports.h"

namespace ring3 {
namespace {

constexpr uint32_t kIoAndMemory = 3;

/// Ports and memory that remember what was written last, relative to their start.
struct Registers final : PortDevice, MmioDevice {
  uint32_t ReadPort(uint16_t port, unsigned) override { return 0x1000u + port; }
  void WritePort(uint16_t port, unsigned, uint32_t value) override { last_port = port, last_value = value; }
  uint64_t ReadMmio(GuestPhysical address, unsigned) override { return 0x2000 + address.value; }
  void WriteMmio(GuestPhysical address, unsigned, uint64_t value) override {
    last_address = address.value, last_value = value;
  }
  uint16_t last_port = 0;
  uint64_t last_address = 0, last_value = 0;
};

class Card final : public PciDevice {
 public:
  explicit Card(BackedMemory* screen = nullptr)
      : PciDevice({.vendor = 0x1234, .device = 0x5678, .class_code = 0x030000}), screen_(screen) {
    AddBar(0, BarKind::kIo, 0x20);
    AddBar(1, BarKind::kMemory, 0x1000);
    if (screen) AddBar(2, BarKind::kPrefetchableMemory, static_cast<uint32_t>(screen->Bytes()));
    SetRom(std::vector<uint8_t>(0xC000, 0x5A));
    SetRegister(pci::kInterruptPin, 1, 1);
  }
  PortDevice* BarPorts(unsigned index) override { return index == 0 ? &registers : nullptr; }
  MmioDevice* BarMemory(unsigned index) override { return index == 1 ? &registers : nullptr; }
  BackedMemory* BarBacked(unsigned index) override { return index == 2 ? screen_ : nullptr; }
  Registers registers;

 private:
  BackedMemory* screen_;
};

struct Machine {
  static constexpr uint64_t kScreen = 1u << 20;

  PhysicalMemory memory{2u << 20, 0, kScreen};
  PortBus ports;
  ResetControl reset{[] {}};
  PicPair pics;
  IrqRouter router{pics};
  Card card{&memory.AddBacked(kScreen)}, neighbour;
  PiixIsaBridge bridge{router};
  PciBus pci{reset};

  Machine() {
    pci.Connect(&ports, &memory, &router);
    pci.Add(1, 0, bridge);
    pci.Add(2, 0, card);
    pci.Add(6, 0, neighbour);
  }
  uint32_t Read(uint32_t address) {
    uint32_t value = 0;
    memory.Read(GuestPhysical(address), {reinterpret_cast<uint8_t*>(&value), 4});
    return value;
  }
  bool Input(unsigned irq) const { return pics.GetIrqState(irq) != IrqState::kIdle; }
};

}  // namespace

TEST_CASE("pci: I/O registers follow the base address and the command register", "[pci]") {
  Machine m;
  m.card.WriteConfig(0x10, 4, 0xC000);
  CHECK(m.ports.Read(0xC004, 4) == 0xFFFFFFFF);
  m.card.WriteConfig(pci::kCommand, 2, kIoAndMemory);
  CHECK(m.ports.Read(0xC004, 4) == 0x1004);
  m.ports.Write(0xC01F, 1, 0x77);
  CHECK(m.card.registers.last_port == 0x1F);
  CHECK(m.ports.Read(0xC020, 4) == 0xFFFFFFFF);
  m.card.WriteConfig(0x10, 4, 0xC100);
  CHECK(m.ports.Read(0xC004, 4) == 0xFFFFFFFF);
  CHECK(m.ports.Read(0xC104, 4) == 0x1004);
  m.card.WriteConfig(0x10, 4, 0xFFFFFFFF);  // as for asking its size
  CHECK(m.ports.Read(0xC104, 4) == 0xFFFFFFFF);
  m.card.WriteConfig(0x10, 4, 0xC100);
  CHECK(m.ports.Read(0xC104, 4) == 0x1004);
  m.pci.Reset();
  CHECK(m.ports.Read(0xC104, 4) == 0xFFFFFFFF);
}

TEST_CASE("pci: memory registers, a ROM and memory of the card follow theirs", "[pci]") {
  Machine m;
  m.card.WriteConfig(0x14, 4, 0xFEB00000);
  m.card.WriteConfig(0x18, 4, 0xE0000000);
  m.card.WriteConfig(pci::kRomBar, 4, 0xFEA00001);
  CHECK(m.Read(0xFEB00010) == 0xFFFFFFFF);
  m.card.WriteConfig(pci::kCommand, 2, kIoAndMemory);
  CHECK(m.Read(0xFEB00010) == 0x2010);
  CHECK(m.Read(0xFEA0BFFE) == 0xFFFF5A5A);  // the image ends there
  const uint8_t byte = 0x5A;
  m.memory.Write(GuestPhysical(0xE0000003), {&byte, 1});
  CHECK(m.card.BarBacked(2)->Data()[3] == 0x5A);
  CHECK(m.Read(0xE0000000) == 0x5A000000);
  m.card.WriteConfig(0x18, 4, 0xE8000000);
  CHECK(m.Read(0xE0000000) == 0xFFFFFFFF);
  CHECK(m.Read(0xE8000000) == 0x5A000000);
  m.card.WriteConfig(pci::kRomBar, 4, 0xFEA00000);  // not enabled
  CHECK(m.Read(0xFEA00020) == 0xFFFFFFFF);
  m.card.WriteConfig(pci::kCommand, 2, 0);
  CHECK(m.Read(0xFEB00010) == 0xFFFFFFFF);
  CHECK(m.Read(0xE8000000) == 0xFFFFFFFF);
}

TEST_CASE("pci: what would lie over something else is not mapped until the place is free", "[pci]") {
  Machine m;
  for (Card* card : {&m.card, &m.neighbour}) {
    card->WriteConfig(pci::kCommand, 2, kIoAndMemory);
    card->WriteConfig(0x10, 4, 0xC000);
    card->WriteConfig(0x14, 4, 0xFEB00000);
  }
  m.ports.Write(0xC000, 1, 1);
  CHECK(m.card.registers.last_value == 1);
  CHECK(m.neighbour.registers.last_value == 0);
  m.card.WriteConfig(0x10, 4, 0xC100);
  m.ports.Write(0xC000, 1, 2);
  CHECK(m.neighbour.registers.last_value == 2);
  m.card.WriteConfig(0x14, 4, 0x00100000);  // RAM
  CHECK(m.Read(0x00100000) == 0);
  CHECK(m.Read(0xFEB00000) == 0x2000);
}

TEST_CASE("pci: shared interrupts reach the line their PIRQ is routed to", "[pci]") {
  Machine m;
  m.pics.Elcr().WritePort(0x4D1, 1, 0x0C);  // IRQ 10 and 11 by level
  REQUIRE(PciBus::PirqOf(2, 1) == PciBus::PirqOf(6, 1));
  m.card.SetInterrupt(true);
  CHECK(m.card.ReadConfig(pci::kStatus, 2) == pci::kStatusInterrupt);
  CHECK(m.pics.GetIrqState(10) == IrqState::kMasked);
  m.pics.Master().WritePort(0x21, 1, 0);
  m.pics.Slave().WritePort(0xA1, 1, 0);
  CHECK_FALSE(m.Input(10));  // not routed after RESET
  m.bridge.RoutePirqs(11, 10);
  CHECK(m.Input(11));
  m.bridge.WriteConfig(0x61, 1, 10);
  CHECK(m.Input(10));
  CHECK_FALSE(m.Input(11));
  m.neighbour.SetInterrupt(true);
  m.card.SetInterrupt(false);
  CHECK(m.Input(10));
  m.neighbour.WriteConfig(pci::kCommand, 2, pci::kCommandInterruptDisable);
  CHECK_FALSE(m.Input(10));
  m.neighbour.WriteConfig(pci::kCommand, 2, 0);
  CHECK(m.Input(10));
  m.router.SetIrq(10, true);
  m.pci.Reset();
  CHECK(m.Input(10));  // an ISA card on the same line
  m.router.SetIrq(10, false);
  CHECK_FALSE(m.Input(10));
}

TEST_CASE("pci: the power management registers lie where the guest puts them", "[pci]") {
  ManualClock clock;
  TimerQueue timers;
  PortBus ports;
  AcpiPm registers(clock, timers, {}, [] {});
  PiixPowerManagement function(registers, ports);
  CHECK(ports.Read(0x600, 2) == 0xFFFF);
  function.WriteConfig(0x40, 4, 0xB000);
  CHECK(ports.Read(0xB000, 2) == 0xFFFF);
  function.WriteConfig(0x80, 1, 1);
  CHECK(function.ReadConfig(0x40, 4) == 0xB001);
  CHECK(ports.Read(0xB000, 2) == 0);
  CHECK(function.Base() == uint16_t{0xB000});
  function.SetBase(0x600);
  CHECK(ports.Read(0xB000, 2) == 0xFFFF);
  CHECK(ports.Read(0x600, 2) == 0);
  function.Reset();
  CHECK(ports.Read(0x600, 2) == 0xFFFF);
  CHECK_FALSE(function.Base());
}

}  // namespace ring3
