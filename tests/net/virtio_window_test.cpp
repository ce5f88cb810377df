// virtio's window through PCI configuration space (virtio 1.1, 4.1.4.9).
#include <catch2/catch.hpp>

#include "devices/pci_bus.h"
#include "devices/system_ports.h"
#include "devices/virtio/virtio_rng.h"

namespace ring3 {
namespace {

constexpr uint8_t kWindow = 0x84, kBar = kWindow + 4, kOffset = kWindow + 8, kLength = kWindow + 12,
                  kData = kWindow + 16;
constexpr uint32_t kDeviceStatus = 0x14, kFeatureSelect = 0x00, kFeatures = 0x04;

/// Configuration space as the guest reaches it.
struct Machine {
  PhysicalMemory memory{1u << 20};
  ResetControl reset{[] {}};
  PciBus bus{reset};
  VirtioRng card{memory};

  Machine() { bus.Add(5, 0, card); }
  uint32_t Read(uint8_t at, unsigned size) {
    Select(at);
    return bus.DataPort().ReadPort(static_cast<uint16_t>(0xCFC + (at & 3)), size);
  }
  void Write(uint8_t at, unsigned size, uint32_t value) {
    Select(at);
    bus.DataPort().WritePort(static_cast<uint16_t>(0xCFC + (at & 3)), size, value);
  }
  void Choose(uint32_t offset, uint32_t bytes, uint8_t bar = 4) {
    Write(kBar, 1, bar), Write(kOffset, 4, offset), Write(kLength, 4, bytes);
  }

 private:
  void Select(uint8_t at) { bus.AddressPort().WritePort(0xCF8, 4, 0x80000000u | 5u << 11 | (at & 0xFCu)); }
};

}  // namespace

TEST_CASE("virtio: registers are reached through configuration space", "[virtio]") {
  Machine m;
  REQUIRE(m.Read(kWindow, 1) == 0x09);
  REQUIRE(m.Read(kWindow + 3, 1) == 5);
  m.Choose(kDeviceStatus, 1);
  m.Write(kData, 1, 3);
  CHECK(m.Read(kData, 1) == 3);
  m.Choose(kFeatureSelect, 4);
  m.Write(kData, 4, 1);
  m.Choose(kFeatures, 4);
  CHECK((m.Read(kData, 4) & 1) == 1);  // VERSION_1
}

TEST_CASE("virtio: what is no register is not reached through configuration space", "[virtio]") {
  Machine m;
  const auto status = [&m] {
    m.Choose(kDeviceStatus, 1);
    return m.Read(kData, 1);
  };
  for (const auto& [offset, bytes, bar] : {std::tuple{kDeviceStatus, 0u, 4},
                                           {kDeviceStatus, 3u, 4},
                                           {kDeviceStatus, 8u, 4},
                                           {kDeviceStatus, 1u, 0},
                                           {kDeviceStatus, 1u, 7},
                                           {0x4000u, 4u, 4},
                                           {0xFFFFFFFCu, 4u, 4},
                                           {kDeviceStatus + 1, 4u, 4}}) {
    m.Choose(offset, bytes, static_cast<uint8_t>(bar));
    m.Write(kData, 4, 0x01010101);
    m.Read(kData, 4);
  }
  CHECK(status() == 0);
}

}  // namespace ring3
