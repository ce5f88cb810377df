// When the guest gets the window's pages.
#include "devices/vga/direct_window.h"

#include <catch2/catch.hpp>

#include "devices/pci_bus.h"
#include "devices/system_ports.h"
#include "devices/vga/video_card.h"
#include "tests/vga/scene.h"

namespace ring3 {
namespace {

constexpr uint32_t kLfb = 0xE000'0000, kWindow = 0xA0000;
constexpr uint64_t kMillisecond = 1'000'000;

struct Machine {
  ManualClock clock;
  TimerQueue timers;
  PhysicalMemory memory{2u << 20, 0, VideoCard::kBackedBytes};
  PortBus ports;
  ResetControl reset{[] {}};
  PciBus pci{reset};
  VideoCard card{clock, timers, memory, ports, {}};

  Machine() {
    pci.Connect(&ports, &memory, nullptr);
    pci.Add(2, 0, card);
    card.EnableWithoutBios(kLfb);
  }
  void Out(uint16_t port, uint8_t index, uint8_t value) {
    ports.Write(port, 1, index), ports.Write(static_cast<uint16_t>(port + 1), 1, value);
  }
  void Set(const ModeTable& mode) {
    ports.Write(0x3C2, 1, mode.miscellaneous);
    for (uint8_t i = 0; i < vga::seq::kCount; ++i) Out(0x3C4, i, mode.sequencer[i]);
    for (uint8_t i = 0; i < vga::gfx::kCount; ++i) Out(0x3CE, i, mode.graphics[i]);
  }
  void Bochs(uint16_t index, uint16_t value) { ports.Write(0x1CE, 2, index), ports.Write(0x1CF, 2, value); }
  /// Uses the window as the guest does while it is a device's, and waits.
  void Use(uint64_t wait_ns = kMillisecond) {
    const uint8_t byte = 0x11;
    memory.Write(GuestPhysical(kWindow), {&byte, 1});
    clock.Advance(wait_ns);
    timers.RunExpired(clock.NowNs());
  }
  uint64_t Seen(uint32_t address) { return memory.Resolve(GuestPhysical(address)).value; }
};

}  // namespace

TEST_CASE("A 256-colour mode's window is memory once it is used") {
  Machine m;
  m.Set(kMode13);
  CHECK_FALSE(m.memory.HasAlias());
  m.Use();
  CHECK(m.Seen(kWindow) == kLfb);
  CHECK(m.Seen(kWindow + 0xFFFF) == kLfb + 0xFFFF);
  CHECK(m.Seen(kWindow + 0x10000) == kWindow + 0x10000);
  m.Out(0x3C4, 0, 3);  // changes nothing
  CHECK(m.memory.HasAlias());
}

TEST_CASE("Whatever makes the window more than memory takes it away") {
  const std::tuple<uint16_t, uint8_t, uint8_t> changes[] = {
      {0x3C4, 2, 0x01}, {0x3C4, 4, 0x06}, {0x3CE, 1, 0x01}, {0x3CE, 3, 0x08},
      {0x3CE, 5, 0x41}, {0x3CE, 5, 0x48}, {0x3CE, 8, 0x7F}, {0x3CE, 6, 0x0D},
  };
  for (const auto& [port, index, value] : changes) {
    Machine m;
    m.Set(kMode13);
    m.Use();
    REQUIRE(m.memory.HasAlias());
    m.Out(port, index, value);
    CHECK_FALSE(m.memory.HasAlias());
  }
  Machine m;
  m.Set(kMode12);
  m.Use();
  CHECK_FALSE(m.memory.HasAlias());
  m.Set(kMode03);
  m.Use();
  CHECK_FALSE(m.memory.HasAlias());
}

TEST_CASE("The bank window follows the bank, later each time") {
  Machine m;
  m.Bochs(1, 640), m.Bochs(2, 480), m.Bochs(3, 8), m.Bochs(4, 1);
  m.ports.Write(0x3C2, 1, 0x63);
  m.Use();
  CHECK(m.Seen(kWindow) == kLfb);
  unsigned shown = 0;
  for (uint16_t bank = 1; bank < 64; ++bank) {
    m.Bochs(5, bank);
    CHECK_FALSE(m.memory.HasAlias());
    m.Use();
    if (!m.memory.HasAlias()) continue;
    CHECK(m.Seen(kWindow) == kLfb + (uint32_t{bank} << 16));
    ++shown;
  }
  CHECK(shown > 1);
  CHECK(shown < 16);
}

TEST_CASE("A window whose memory moves or goes is a device again") {
  Machine m;
  m.Set(kMode13);
  m.Use();
  REQUIRE(m.memory.HasAlias());
  m.card.WriteConfig(pci::kCommand, 2, 0);
  CHECK_FALSE(m.memory.HasAlias());
  m.Use();
  CHECK_FALSE(m.memory.HasAlias());
  m.card.WriteConfig(pci::kCommand, 2, pci::kCommandMemory);
  m.Use();
  CHECK(m.memory.HasAlias());
  m.card.Reset();
  CHECK_FALSE(m.memory.HasAlias());
}

}  // namespace ring3
