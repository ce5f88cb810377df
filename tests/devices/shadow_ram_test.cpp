#include "devices/shadow_ram.h"

#include <catch2/catch.hpp>

#include "devices/pci_bus.h"

namespace ring3 {
namespace {

constexpr uint8_t kRomByte = 0x5A;

struct Fixture {
  std::vector<uint8_t> rom = std::vector<uint8_t>(256u << 10, kRomByte);
  PhysicalMemory memory{2u << 20};
  ShadowRam shadow{memory, rom};
  PciHostBridge bridge{&shadow};

  uint8_t Read(uint64_t address) {
    uint8_t value = 0;
    memory.Read(GuestPhysical(address), {&value, 1});
    return value;
  }
  void Write(uint64_t address, uint8_t value) { memory.Write(GuestPhysical(address), {&value, 1}); }
};

}  // namespace

TEST_CASE("shadow RAM: after power-on there is ROM, and nothing below it", "[shadow]") {
  Fixture f;
  CHECK(f.Read(0xBFFFF) == 0xFF);
  CHECK(f.Read(0xC0000) == 0xFF);
  CHECK(f.Read(0xDFFFF) == 0xFF);
  CHECK(f.Read(0xE0000) == kRomByte);
  CHECK(f.Read(0xFFFFF) == kRomByte);
  f.Write(0xF0000, 1);
  CHECK(f.Read(0xF0000) == kRomByte);
  CHECK(f.Read(0x100000) == 0);
}

TEST_CASE("shadow RAM: firmware copies itself, protects the copy, and finds ROM again after a reset", "[shadow]") {
  Fixture f;
  f.bridge.WriteConfig(0x59, 1, 0x20);  // F0000h: writes go to RAM
  CHECK(f.memory.KindOf(GuestPhysical(0xF0000)) == PageKind::kMmio);
  CHECK(f.memory.KindOf(GuestPhysical(0xE0000)) == PageKind::kRom);
  f.Write(0xF1234, 0x77);
  CHECK(f.Read(0xF1234) == kRomByte);
  f.bridge.WriteConfig(0x59, 1, 0x30);
  CHECK(f.memory.KindOf(GuestPhysical(0xF0000)) == PageKind::kRam);
  CHECK(f.Read(0xF1234) == 0x77);
  CHECK(f.Read(0xF0000) == 0);
  f.Write(0xF0000, 0x78);
  f.bridge.WriteConfig(0x59, 1, 0x10);
  f.Write(0xF0000, 0x79);
  CHECK(f.Read(0xF0000) == 0x78);
  f.bridge.Reset();
  CHECK(f.Read(0xF0000) == kRomByte);
  f.bridge.WriteConfig(0x59, 1, 0x30);
  CHECK(f.Read(0xF0000) == 0x78);  // RAM kept its bytes
}

TEST_CASE("shadow RAM: each register's halves are segments of 16 KiB", "[shadow]") {
  Fixture f;
  for (unsigned segment = 0; segment < 12; ++segment) {
    f.bridge.Reset();
    const auto pam = static_cast<uint8_t>(0x5A + segment / 2);
    f.bridge.WriteConfig(pam, 1, segment % 2 ? 0x30 : 0x03);
    for (uint64_t at = 0xC0000; at < 0x100000; at += 0x4000) {
      const bool ram = at == 0xC0000 + 0x4000 * segment;
      CHECK(f.memory.KindOf(GuestPhysical(at)) == (ram ? PageKind::kRam : PageKind::kRom));
    }
  }
  f.bridge.Reset();
  f.bridge.WriteConfig(0x58, 4, 0x33333333);
  f.bridge.WriteConfig(0x5C, 4, 0x33333333);
  CHECK(f.memory.KindOf(GuestPhysical(0xC0000)) == PageKind::kRam);
  CHECK(f.memory.KindOf(GuestPhysical(0xFF000)) == PageKind::kRam);
}

TEST_CASE("shadow RAM: SMRAM opens the video hole until it is locked", "[shadow]") {
  Fixture f;
  const auto kind = [&] { return f.memory.KindOf(GuestPhysical(0xA0000)); };
  f.bridge.WriteConfig(0x72, 1, 0x48);
  CHECK(kind() == PageKind::kRam);
  f.Write(0xBFFFF, 0x66);
  f.bridge.WriteConfig(0x72, 1, 0x68);
  CHECK(kind() == PageKind::kMmio);
  f.bridge.WriteConfig(0x72, 1, 0x48);
  CHECK(f.Read(0xBFFFF) == 0x66);
  f.bridge.WriteConfig(0x72, 1, 0x58);
  CHECK(f.bridge.ReadConfig(0x72, 1) == 0x1A);
  CHECK(kind() == PageKind::kMmio);
  f.bridge.WriteConfig(0x72, 1, 0x48);
  CHECK(f.bridge.ReadConfig(0x72, 1) == 0x1A);
  CHECK(kind() == PageKind::kMmio);
  f.bridge.Reset();
  f.bridge.WriteConfig(0x72, 1, 0x48);
  CHECK(kind() == PageKind::kRam);
}

}  // namespace ring3
