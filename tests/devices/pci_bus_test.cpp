#include "devices/pci_bus.h"

#include <catch2/catch.hpp>

#include "devices/system_ports.h"

namespace ring3 {
namespace {

class TestFunction final : public PciDevice {
 public:
  TestFunction()
      : PciDevice({.vendor = 0x1AF4, .device = 0x1000, .class_code = 0x020000, .revision = 3, .subsystem = 1}) {
    AddBar(0, BarKind::kIo, 0x40);
    AddBar(1, BarKind::kMemory, 0x1000);
    SetRegister(pci::kInterruptPin, 1, 1);
  }
  std::vector<std::pair<unsigned, unsigned>> written;

 protected:
  void ConfigWritten(uint8_t offset, unsigned size) override { written.emplace_back(offset, size); }
};

struct PciFixture {
  unsigned resets = 0;
  ResetControl reset{[this] { ++resets; }};
  PciBus pci{reset};
  PortBus bus;

  PciFixture() {
    bus.Attach(0xCF8, 4, pci.AddressPort(), "address");
    bus.Attach(0xCFC, 4, pci.DataPort(), "data");
  }
  void Select(unsigned device, unsigned function, unsigned offset, unsigned bus_number = 0) {
    bus.Write(0xCF8, 4, 0x80000000u | bus_number << 16 | device << 11 | function << 8 | (offset & 0xFC));
  }
  uint32_t Read(unsigned device, unsigned offset, unsigned size = 4) {
    Select(device, 0, offset);
    return bus.Read(static_cast<uint16_t>(0xCFC + (offset & 3)), size);
  }
  void Write(unsigned device, unsigned offset, uint32_t value, unsigned size = 4) {
    Select(device, 0, offset);
    bus.Write(static_cast<uint16_t>(0xCFC + (offset & 3)), size, value);
  }
};

}  // namespace

TEST_CASE("pci: an empty bus", "[pci]") {
  PciFixture f;
  f.bus.Write(0xCFB, 1, 1);  // the mechanism's usual probe
  f.bus.Write(0xCF8, 4, 0x80000000);
  CHECK(f.bus.Read(0xCF8, 4) == 0x80000000);
  for (unsigned device = 0; device < 32; ++device) CHECK(f.Read(device, 0) == 0xFFFFFFFF);
  CHECK(f.Read(0, 2, 2) == 0xFFFF);
}

TEST_CASE("pci: the host bridge", "[pci]") {
  PciFixture f;
  PciHostBridge bridge;
  f.pci.Add(0, 0, bridge);
  CHECK(f.Read(0, 0) == 0x12378086);
  CHECK(f.Read(0, 2, 2) == 0x1237);
  CHECK(f.Read(0, 8) == 0x06000002);
  CHECK(f.Read(0, 0x0E, 1) == 0);
  for (unsigned bar = 0x10; bar < 0x28; bar += 4) {
    f.Write(0, bar, 0xFFFFFFFF);
    CHECK(f.Read(0, bar) == 0);
  }
  f.Write(0, 0, 0);
  CHECK(f.Read(0, 0) == 0x12378086);
  f.Write(0, 0x59, 0xFF, 1);
  f.Write(0, 0x5A, 0xFF, 1);
  CHECK(f.Read(0, 0x59, 2) == 0x3330);
  f.Write(0, 0x04, 0, 2);
  CHECK(f.Read(0, 0x04, 2) == 0x0006);
  f.pci.Reset();
  CHECK(f.Read(0, 0x59, 2) == 0);
  f.Select(0, 1, 0);
  CHECK(f.bus.Read(0xCFC, 4) == 0xFFFFFFFF);
  f.Select(0, 0, 0, 1);
  CHECK(f.bus.Read(0xCFC, 4) == 0xFFFFFFFF);
  f.bus.Write(0xCF8, 4, 0);  // enable bit off
  CHECK(f.bus.Read(0xCFC, 4) == 0xFFFFFFFF);
}

TEST_CASE("pci: a function with base address registers", "[pci]") {
  PciFixture f;
  TestFunction function;
  f.pci.Add(3, 0, function);
  CHECK_THROWS_AS(f.pci.Add(3, 0, function), std::logic_error);
  CHECK(f.Read(3, 0x10) == 1);
  f.Write(3, 0x10, 0xFFFFFFFF);
  CHECK(f.Read(3, 0x10) == 0xFFFFFFC1);
  f.Write(3, 0x14, 0xFFFFFFFF);
  CHECK(f.Read(3, 0x14) == 0xFFFFF000);
  f.Write(3, 0x10, 0xC040);
  f.Write(3, 0x14, 0xFEBF1000);
  CHECK(function.BarAddress(0) == 0);
  f.Write(3, 0x04, 0x0003, 2);
  CHECK(function.BarAddress(0) == 0xC040);
  CHECK(function.BarAddress(1) == 0xFEBF1000);
  f.Write(3, 0x3C, 0xFF0B, 2);
  CHECK(f.Read(3, 0x3C, 2) == 0x010B);
  CHECK(function.written.back() == std::pair<unsigned, unsigned>{0x3C, 2});
  f.pci.Reset();
  CHECK(f.Read(3, 0x10) == 1);
  CHECK(f.Read(3, 0x04, 2) == 0);
}

TEST_CASE("pci: bytes at CF9 are the reset control register", "[pci]") {
  PciFixture f;
  f.bus.Write(0xCF8, 4, 0x80001234);
  f.bus.Write(0xCF9, 1, 0x02);
  CHECK(f.resets == 0);
  f.bus.Write(0xCF9, 1, 0x06);
  CHECK(f.resets == 1);
  f.bus.Write(0xCF9, 1, 0x06);  // no rising edge
  CHECK(f.resets == 1);
  CHECK(f.bus.Read(0xCF9, 1) == 0x06);
  CHECK(f.bus.Read(0xCF8, 1) == 0xFF);
  CHECK(f.bus.Read(0xCF8, 4) == 0x80001234);
}

}  // namespace ring3
