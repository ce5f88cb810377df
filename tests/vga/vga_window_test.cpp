// Planes, latches and addressing of the window at A0000h.
#include <catch2/catch.hpp>

#include "tests/vga/scene.h"

namespace ring3 {
namespace {

struct PlanarScene : Scene {
  PlanarScene() { Set(kMode12); }
  uint32_t Cell(uint32_t index) {
    uint32_t value;
    std::memcpy(&value, memory.Data() + index * 4, 4);
    return value;
  }
  void Fill(uint32_t index, uint32_t planes) { std::memcpy(memory.Data() + index * 4, &planes, 4); }
};

constexpr uint32_t kA = 0xA0000;

TEST_CASE("Write mode 0 rotates, sets and resets, combines with the latches and obeys both masks") {
  PlanarScene s;
  s.Write(kA, 0x5A);
  CHECK(s.Cell(0) == 0x5A5A5A5A);
  s.Graphics(3, 0x04);  // rotate by four
  s.Sequencer(2, 0x05);
  s.Write(kA, 0x12);
  CHECK(s.Cell(0) == 0x5A215A21);
  s.Sequencer(2, 0x0F), s.Graphics(3, 0);
  s.Graphics(1, 0x03), s.Graphics(0, 0x01);  // planes 0 and 1 from set/reset
  s.Write(kA, 0x44);
  CHECK(s.Cell(0) == 0x444400FF);
  s.Graphics(1, 0);
  s.Fill(1, 0x0F0F0F0F);
  s.Read(kA + 1);
  s.Graphics(8, 0xF0);
  s.Write(kA + 2, 0xAA);
  CHECK(s.Cell(2) == 0xAFAFAFAF);
  s.Graphics(8, 0xFF);
  const uint8_t values[] = {0x3C & 0x0F, 0x3C | 0x0F, 0x3C ^ 0x0F};
  for (uint8_t operation = 1; operation <= 3; ++operation) {
    s.Graphics(3, static_cast<uint8_t>(operation << 3));
    s.Write(kA + 3, 0x3C);
    CHECK((s.Cell(3) & 0xFF) == values[operation - 1]);
  }
}

TEST_CASE("Write modes 1, 2 and 3") {
  PlanarScene s;
  s.Fill(5, 0x11223344);
  s.Graphics(5, 1);
  s.Graphics(8, 0);  // plays no part
  s.Read(kA + 5);
  s.Write(kA + 6, 0);
  CHECK(s.Cell(6) == 0x11223344);
  s.Graphics(5, 2), s.Graphics(8, 0x0F);
  s.Write(kA + 7, 0x0A);
  CHECK(s.Cell(7) == 0x1F203F40);
  s.Graphics(5, 3), s.Graphics(8, 0xFF), s.Graphics(0, 0x06);
  s.Write(kA + 8, 0xF0);
  CHECK(s.Cell(8) == 0x01F2F304);
}

TEST_CASE("Read mode 0 gives a plane, read mode 1 where the colours agree") {
  PlanarScene s;
  s.Fill(0, 0x11223344);
  for (uint8_t plane = 0; plane < 4; ++plane) {
    s.Graphics(4, plane);
    CHECK(s.Read(kA) == 0x44 - plane * 0x11);
  }
  s.Graphics(5, 8);
  s.Fill(1, 0xFF00F00F);  // colour 1, or 3, or 9...
  s.Graphics(2, 0x09), s.Graphics(7, 0x0F);
  CHECK(s.Read(kA + 1) == 0x0F);
  s.Graphics(7, 0x08);
  CHECK(s.Read(kA + 1) == 0xFF);
  s.Graphics(7, 0);
  CHECK(s.Read(kA + 1) == 0xFF);
}

TEST_CASE("Memory maps, and the RAM enable bit") {
  PlanarScene s;
  const auto reaches = [&](uint32_t address) {
    s.Fill(0, 0), s.Fill(0x8000, 0);
    s.Write(address, 0xFF);
    return s.Cell(0) != 0 || s.Cell(0x8000) != 0;
  };
  struct Row {
    uint8_t map;
    bool a0, a8, b0, b8;
  };
  for (const Row& row : {Row{0, true, true, true, true},
                         {1, true, true, false, false},
                         {2, false, false, true, false},
                         {3, false, false, false, true}}) {
    s.Graphics(6, static_cast<uint8_t>(row.map << 2 | 1));
    CHECK(reaches(0xA0000) == row.a0);
    CHECK(reaches(0xA8000) == row.a8);
    CHECK(reaches(0xB0000) == row.b0);
    CHECK(reaches(0xB8000) == row.b8);
  }
  s.Out(0x3C2, 0xE1);
  CHECK_FALSE(reaches(0xB8000));
  CHECK(s.Read(0xB8000) == 0xFF);
}

TEST_CASE("Odd/even addressing puts neighbours into planes 0 and 1; chain-4 into all four") {
  Scene s;
  s.Set(kMode03);
  s.vga.Window().WriteMmio(GuestPhysical(0xB8002), 2, 0x1F41);
  CHECK(s.memory.Data()[4] == 0x41);
  CHECK(s.memory.Data()[5] == 0x1F);
  CHECK(s.memory.Data()[6] == 0);
  CHECK(s.vga.Window().ReadMmio(GuestPhysical(0xB8002), 2) == 0x1F41);
  s.Set(kMode13);
  s.vga.Window().WriteMmio(GuestPhysical(0xA0100), 8, 0x8877665544332211);
  CHECK(s.memory.Data()[0x100] == 0x11);
  CHECK(s.memory.Data()[0x107] == 0x88);
  CHECK(s.vga.Window().ReadMmio(GuestPhysical(0xA0100), 4) == 0x44332211);
  s.Sequencer(2, 0x02);
  s.vga.Window().WriteMmio(GuestPhysical(0xA0200), 4, 0x44332211);
  CHECK(s.vga.Window().ReadMmio(GuestPhysical(0xA0200), 4) == 0x2200);
}

TEST_CASE("No access leaves the video memory, whatever the registers say") {
  Scene s;
  uint32_t random = 1;
  const auto next = [&] { return random = random * 1664525 + 1013904223, random >> 16; };
  for (int round = 0; round < 20000; ++round) {
    const uint32_t kind = next() % 4;
    if (kind == 0) s.Out(static_cast<uint16_t>(0x3B0 + next() % 0x30), static_cast<uint8_t>(next()));
    if (kind == 1)
      s.Bochs(static_cast<uint16_t>(next() % 12), static_cast<uint16_t>(next() % 8 ? next() % 64 : next()));
    if (kind == 2) s.vga.Window().WriteMmio(GuestPhysical(0xA0000 + (next() % 0x20000 & ~7u)), 8, next());
    if (kind == 3) s.vga.Window().ReadMmio(GuestPhysical(0xA0000 + (next() % 0x20000 & ~7u)), 8);
    if (round % 50 == 0) s.clock.Advance(next()), s.Draw();
  }
}

}  // namespace
}  // namespace ring3
