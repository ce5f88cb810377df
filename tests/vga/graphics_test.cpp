// Graphics modes: pictures whose hashes were taken after they had been looked at.
#include <catch2/catch.hpp>

#include "tests/vga/scene.h"

namespace ring3 {
namespace {

/// Writes a byte to the planes that `planes` selects.
void PutPlanes(Scene& scene, uint32_t address, uint8_t planes, uint8_t value) {
  scene.Sequencer(2, planes);
  scene.Write(address, value);
}

TEST_CASE("Mode 12h: sixteen colours of 640 by 480") {
  Scene scene;
  scene.Set(kMode12);
  scene.SetColours();
  // Sixteen vertical bars of forty dots, and a white diagonal by write mode 2.
  for (uint32_t y = 0; y < 480; ++y) {
    for (uint32_t column = 0; column < 80; ++column)
      PutPlanes(scene, 0xA0000 + y * 80 + column, static_cast<uint8_t>(column / 5), 0xFF);
  }
  scene.Sequencer(2, 0x0F);
  scene.Graphics(5, 2);
  for (uint32_t y = 0; y < 480; ++y) {
    const uint32_t address = 0xA0000 + y * 80 + y / 8;
    scene.Graphics(8, static_cast<uint8_t>(0x80 >> y % 8));
    scene.Read(address);
    scene.Write(address, 15);
  }
  CHECK(scene.Picture("mode12") == 0xC0C764CDCC4B63F4);
  CHECK(scene.frame.width == 640);
  CHECK(scene.frame.height == 480);
  CHECK(scene.frame.text.cells.empty());
  CHECK(scene.Pixel(100, 100) == 0xFFFFFF);
  CHECK(scene.Pixel(45, 10) == 0x0000AA);
}

TEST_CASE("Mode 0Dh: 320 by 200 in sixteen colours") {
  Scene scene;
  scene.Set(kMode0D);
  scene.SetColours();
  for (uint32_t y = 0; y < 200; ++y) {
    for (uint32_t column = 0; column < 40; ++column) {
      PutPlanes(scene, 0xA0000 + y * 40 + column, static_cast<uint8_t>((column + y / 8) & 15), 0x7E);
    }
  }
  CHECK(scene.Picture("mode0d") == 0x5C1584BE7ACB0354);
  CHECK(scene.frame.width == 640);
  CHECK(scene.frame.height == 400);
}

TEST_CASE("Mode 13h: 256 colours, chained") {
  Scene scene;
  scene.Set(kMode13);
  scene.SetColours();
  for (uint32_t y = 0; y < 200; ++y) {
    for (uint32_t x = 0; x < 320; ++x) scene.Write(0xA0000 + y * 320 + x, static_cast<uint8_t>(x + y));
  }
  CHECK(scene.Read(0xA0000 + 321) == 2);
  CHECK(scene.Picture("mode13") == 0x2F8170E487211364);
  CHECK(scene.frame.width == 640);
  CHECK(scene.frame.height == 400);
  scene.Write(0xA0000 + 100 * 320 + 7, 1);
  const Changes changes = scene.Draw();
  REQUIRE(changes.rectangles.size() == 1);
  CHECK(changes.rectangles[0] == Rectangle{14, 200, 2, 2});
}

TEST_CASE("Mode X: 320 by 240 in 256 colours, a plane for each fourth pixel") {
  Scene scene;
  scene.Set(kMode13);
  scene.SetColours();
  scene.Sequencer(4, 0x06);
  scene.Out(0x3C2, 0xE3);
  constexpr uint8_t kTiming[][2] = {{0x11, 0x2C}, {0x06, 0x0D}, {0x07, 0x3E}, {0x09, 0x41}, {0x10, 0xEA}, {0x11, 0xAC},
                                    {0x12, 0xDF}, {0x14, 0x00}, {0x15, 0xE7}, {0x16, 0x06}, {0x17, 0xE3}};
  for (const auto& pair : kTiming) scene.Crtc(pair[0], pair[1]);
  for (uint32_t y = 0; y < 240; ++y) {
    for (uint32_t x = 0; x < 320; ++x) {
      const bool inside = (x - 160) * (x - 160) + (y - 120) * (y - 120) < 100 * 100;
      PutPlanes(scene, 0xA0000 + y * 80 + x / 4, static_cast<uint8_t>(1 << x % 4),
                static_cast<uint8_t>(inside ? 64 + y / 2 : x));
    }
  }
  CHECK(scene.Picture("modex") == 0x1A9B4E4BB7284194);
  CHECK(scene.frame.width == 640);
  CHECK(scene.frame.height == 480);
}

TEST_CASE("Mode 4: the CGA's four colours on interleaved lines") {
  Scene scene;
  scene.Set(kMode04);
  scene.SetColours();
  for (uint32_t y = 0; y < 200; ++y) {
    for (uint32_t byte = 0; byte < 80; ++byte) {
      scene.Write(0xB8000 + (y % 2) * 0x2000 + y / 2 * 80 + byte, y < 100 ? 0x1B : static_cast<uint8_t>(byte * 3 + y));
    }
  }
  CHECK(scene.Picture("mode4") == 0xA2B493B332A4D27C);
  CHECK(scene.frame.width == 640);
  CHECK(scene.frame.height == 400);
}

TEST_CASE("Mode 6: 640 by 200 in two colours") {
  Scene scene;
  scene.Set(kMode06);
  scene.SetColours();
  for (uint32_t y = 0; y < 200; ++y) {
    for (uint32_t byte = 0; byte < 80; ++byte) {
      scene.Write(0xB8000 + (y % 2) * 0x2000 + y / 2 * 80 + byte, static_cast<uint8_t>(y < 100 ? 0xF0 : 1 << y % 8));
    }
  }
  CHECK(scene.Picture("mode6") == 0x2297C64539071954);
}

void SetLinear(Scene& scene, uint16_t width, uint16_t height, uint16_t bits) {
  scene.Bochs(4, 0);
  scene.Bochs(1, width), scene.Bochs(2, height), scene.Bochs(3, bits);
  scene.Bochs(4, 0x41);
  scene.In(0x3DA);
  scene.Out(0x3C0, 0x20);
}

/// A red ramp to the right, a green one downwards, and a blue frame.
uint32_t Test24(uint32_t x, uint32_t y, uint32_t width, uint32_t height) {
  const bool edge = x < 4 || y < 4 || x >= width - 4 || y >= height - 4;
  return (x * 255 / width) << 16 | (y * 255 / height) << 8 | (edge ? 255 : 0);
}

TEST_CASE("Linear modes of every depth show the same picture, as near as they can") {
  constexpr uint32_t kWidth = 640, kHeight = 480;
  Scene scene(16u << 20);
  scene.Set(kMode03);
  struct Row {
    uint16_t bits;
    uint64_t hash;
  };
  for (const Row& row :
       {Row{15, 0x30FE0B76FFE679BC}, {16, 0x233BF16318D31F2C}, {24, 0xD1A059B668F9EFE4}, {32, 0xD1A059B668F9EFE4}}) {
    SetLinear(scene, kWidth, kHeight, row.bits);
    const unsigned bytes = (row.bits + 7u) / 8;
    for (uint32_t y = 0; y < kHeight; ++y) {
      for (uint32_t x = 0; x < kWidth; ++x) {
        const uint32_t colour = Test24(x, y, kWidth, kHeight), r = colour >> 16, g = colour >> 8 & 255,
                       b = colour & 255;
        uint32_t value = colour;
        if (row.bits == 15) value = r >> 3 << 10 | g >> 3 << 5 | b >> 3;
        if (row.bits == 16) value = r >> 3 << 11 | g >> 2 << 5 | b >> 3;
        std::memcpy(scene.memory.Data() + (y * kWidth + x) * bytes, &value, bytes);
      }
    }
    scene.memory.TouchAll();
    CHECK(scene.Picture("linear" + std::to_string(row.bits)) == row.hash);
    CHECK(scene.frame.width == 640);
    CHECK(scene.frame.height == 480);
  }
}

TEST_CASE("1920 by 1080 in 32 bits fits, pans in a larger picture, and draws only what was touched") {
  Scene scene(16u << 20);
  scene.Set(kMode03);
  SetLinear(scene, 1920, 1080, 32);
  scene.Bochs(6, 2048);
  scene.Bochs(8, 16), scene.Bochs(9, 20);
  const uint32_t white = 0xFFFFFF, offset = (20 * 2048 + 16) * 4;
  std::memcpy(scene.memory.Data() + offset, &white, 4);
  scene.Draw();
  REQUIRE(scene.frame.width == 1920);
  REQUIRE(scene.frame.height == 1080);
  CHECK(scene.Pixel(0, 0) == white);
  const uint32_t later = offset + (500 * 2048 + 300) * 4;
  std::memcpy(scene.memory.Data() + later, &white, 4);
  CHECK(scene.Draw().rectangles.empty());  // nobody said so
  scene.memory.Touch(later);
  const Changes changes = scene.Draw();
  REQUIRE(changes.rectangles.size() == 1);
  CHECK(changes.rectangles[0] == Rectangle{300, 500, 1, 1});
}

TEST_CASE("Eight bits use the palette, six or eight bits wide; four are planar") {
  Scene scene(16u << 20);
  scene.Set(kMode03);
  SetLinear(scene, 800, 600, 8);
  scene.Colour(200, 0x3F, 0x20, 0);
  scene.memory.Data()[800 * 600 - 1] = 200;
  scene.memory.TouchAll();
  scene.Draw();
  CHECK(scene.Pixel(799, 599) == 0xFF8200);
  scene.Bochs(4, 0x61);
  scene.Colour(200, 0x3F, 0x20, 0);
  scene.Draw();
  CHECK(scene.Pixel(799, 599) == 0x3F2000);
  SetLinear(scene, 800, 600, 4);
  scene.Set(kMode12);
  scene.SetColours();
  scene.Sequencer(2, 5);
  scene.Write(0xA0000 + 100 * 100, 0x80);
  scene.Draw();
  CHECK(scene.frame.width == 800);
  CHECK(scene.Pixel(0, 100) == 0xAA00AA);
}

TEST_CASE("The banked window reaches all of a linear mode") {
  Scene scene(16u << 20);
  scene.Set(kMode13);
  SetLinear(scene, 1024, 768, 8);
  scene.Bochs(5, 11);
  scene.Write(0xA0010, 0x77);
  CHECK(scene.memory.Data()[11 * 0x10000 + 0x10] == 0x77);
  CHECK(scene.Read(0xA0010) == 0x77);
  CHECK(scene.Read(0xB0010) == 0xFF);
}

}  // namespace
}  // namespace ring3
