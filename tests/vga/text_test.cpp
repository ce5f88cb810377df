// Text modes: pictures, blinking, and what is drawn again.
#include <catch2/catch.hpp>

#include "tests/vga/scene.h"

namespace ring3 {
namespace {

struct TextScene : Scene {
  TextScene() {
    Set(kMode03);
    SetColours();
    LoadFont();
    for (uint32_t cell = 0; cell < 80 * 25; ++cell) {
      Write(0xB8000 + cell * 2, ' ');
      Write(0xB8000 + cell * 2 + 1, 0x07);
    }
    // The blank must look blank.
    Sequencer(2, 4), Sequencer(4, 6), Graphics(5, 0), Graphics(6, 4);
    for (uint32_t line = 0; line < 32; ++line) Write(0xA0000 + ' ' * 32 + line, 0);
    Sequencer(2, 3), Sequencer(4, 2), Graphics(5, 0x10), Graphics(6, 0x0E);
  }
};

TEST_CASE("Text mode 3 shows characters, all attributes, line graphics and the cursor") {
  TextScene scene;
  scene.Print(0, 0, 0x07, "ABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789");
  for (int attribute = 0; attribute < 256; ++attribute) {
    scene.Print(attribute % 16 * 4, 2 + attribute / 16, static_cast<uint8_t>(attribute), "Ab");
  }
  scene.Print(0, 20, 0x0F, std::string(20, '\xC4') + std::string(20, '\xB3'));
  scene.Crtc(0x0E, 1), scene.Crtc(0x0F, 0x40 + 80 * 0);  // cell 320: row 4, column 0
  CHECK(scene.Picture("text") == 0x83CB385E96C22624);
  CHECK(scene.frame.width == 720);
  CHECK(scene.frame.height == 400);
  CHECK(scene.frame.text.columns == 80);
  CHECK(scene.frame.text.rows == 25);
  CHECK(scene.frame.text.cursor_row == 4);
  CHECK(scene.frame.text.cursor_column == 0);
  CHECK(scene.frame.text.Utf8().starts_with("ABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789\n\n"));
}

TEST_CASE("The ninth dot repeats the eighth in line graphics alone") {
  TextScene scene;
  scene.Sequencer(2, 4), scene.Sequencer(4, 6), scene.Graphics(5, 0), scene.Graphics(6, 4);
  for (const uint32_t character : {0xC4u, 0xB3u}) scene.Write(0xA0000 + character * 32 + 7, 0xFF);
  scene.Sequencer(2, 3), scene.Sequencer(4, 2), scene.Graphics(5, 0x10), scene.Graphics(6, 0x0E);
  scene.Print(0, 0, 0x0F, "\xC4\xB3");
  scene.Draw();
  CHECK(scene.Pixel(7, 7) == 0xFFFFFF);
  CHECK(scene.Pixel(8, 7) == 0xFFFFFF);
  CHECK(scene.Pixel(16, 7) == 0xFFFFFF);
  CHECK(scene.Pixel(17, 7) == 0);
  scene.Attribute(0x10, 0x08);  // without line graphics
  scene.Draw();
  CHECK(scene.Pixel(8, 7) == 0);
}

TEST_CASE("The cursor blinks every eight frames, characters every sixteen") {
  TextScene scene;
  scene.Print(3, 0, 0x87, "X");
  scene.Crtc(0x0E, 0), scene.Crtc(0x0F, 1);
  const uint64_t frame_ns = TimingOf(scene.vga.Registers()).FrameNs() + 1;
  const auto cursor_at = [&](uint64_t frames) {
    scene.clock.Set(frames * frame_ns);
    scene.Draw();
    return scene.Pixel(9, 13) != 0;
  };
  const auto glyph_at = [&](uint64_t frames) {
    scene.clock.Set(frames * frame_ns);
    scene.Draw();
    return scene.Pixel(3 * 9 + 1, 3) != 0;
  };
  CHECK(cursor_at(1));
  CHECK_FALSE(cursor_at(9));
  CHECK(cursor_at(17));
  CHECK_FALSE(glyph_at(17));
  CHECK(glyph_at(33));
  scene.Attribute(0x10, 0x04);  // bit 7 brightens the background instead
  CHECK(glyph_at(49));
  CHECK(scene.Pixel(3 * 9, 0) == 0x555555);
}

TEST_CASE("Only the cells that changed are drawn again") {
  TextScene scene;
  CHECK(scene.Draw().resized);
  CHECK_FALSE(scene.Draw().Any());
  scene.Print(10, 3, 0x07, "8");
  const Changes changes = scene.Draw();
  CHECK(changes.text);
  REQUIRE(changes.rectangles.size() == 1);
  const Rectangle& r = changes.rectangles[0];
  CHECK(r.x >= 90);
  CHECK(r.x + r.width <= 99);
  CHECK(r.y >= 48);
  CHECK(r.y + r.height <= 64);
}

TEST_CASE("A second font is chosen by attribute bit 3") {
  TextScene scene;
  scene.Sequencer(2, 4), scene.Sequencer(4, 6), scene.Graphics(5, 0), scene.Graphics(6, 4);
  scene.Write(0xA0000 + 0x2000 + 'A' * 32, 0x81);  // font 4
  scene.Sequencer(2, 3), scene.Sequencer(4, 2), scene.Graphics(5, 0x10), scene.Graphics(6, 0x0E);
  scene.Sequencer(3, 0x20);
  scene.Print(0, 0, 0x07, "A");
  scene.Print(1, 0, 0x0F, "A");
  scene.Draw();
  CHECK(scene.Pixel(0, 0) == 0);
  CHECK(scene.Pixel(9, 0) == 0xFFFFFF);
  CHECK(scene.Pixel(10, 0) == 0);
}

TEST_CASE("Start address, pixel panning and split screen move the picture") {
  TextScene scene;
  scene.Print(0, 1, 0x07, "1");
  scene.Draw();
  const std::vector<uint32_t> plain(scene.frame.Row(16), scene.frame.Row(32));
  scene.Crtc(0x0D, 80);
  scene.Draw();
  CHECK(std::equal(plain.begin(), plain.end(), scene.frame.Row(0)));
  scene.Attribute(0x13, 0x02);  // three dots to the left
  scene.Draw();
  CHECK(std::equal(plain.begin() + 3, plain.begin() + 700, scene.frame.Row(0)));
  scene.Attribute(0x13, 0x08);
  // From line 33 on the picture starts again with cell 0.
  scene.Print(0, 0, 0x07, "0");
  scene.Crtc(0x18, 32), scene.Crtc(0x07, 0x0F), scene.Crtc(0x09, 0x0F);
  scene.Draw();
  CHECK(scene.Pixel(0, 33 + 3) == scene.Pixel(5, 33 + 3));
  CHECK(scene.Pixel(0, 33 + 3) != 0);
  scene.Crtc(0x08, 3);  // preset row scan: the glyph's first line comes first
  scene.Draw();
  CHECK(std::equal(plain.begin() + 720 * 3, plain.begin() + 720 * 4, scene.frame.Row(0)));
}

TEST_CASE("A screen that is off is black, and comes back") {
  TextScene scene;
  scene.Print(0, 0, 0x70, "X");
  scene.Draw();
  CHECK(scene.Pixel(0, 0) != 0);
  scene.Sequencer(1, 0x20);
  scene.Draw();
  CHECK(scene.Pixel(0, 0) == 0);
  CHECK(scene.frame.width == 720);
  scene.Sequencer(1, 0x00);
  scene.Draw();
  CHECK(scene.Pixel(0, 0) != 0);
}

TEST_CASE("Forty columns are twice as wide") {
  TextScene scene;
  scene.Sequencer(1, 0x08);
  scene.Crtc(0x11, 0);
  scene.Crtc(0x01, 39), scene.Crtc(0x13, 20);
  scene.Draw();
  CHECK(scene.frame.width == 720);
  CHECK(scene.frame.text.columns == 40);
}

}  // namespace
}  // namespace ring3
