// The VGA's ports.
#include <catch2/catch.hpp>

#include "devices/port_bus.h"
#include "tests/vga/scene.h"

namespace ring3 {
namespace {

TEST_CASE("Index and data registers read back the bits that exist") {
  Scene s;
  s.Out(0x3C2, 0x67);
  s.Sequencer(2, 0xFF);
  CHECK(s.In(0x3C5) == 0x0F);
  s.Graphics(8, 0xA5);
  CHECK(s.In(0x3CF) == 0xA5);
  CHECK(s.In(0x3CE) == 8);
  s.Crtc(0x0C, 0x12);
  CHECK(s.In(0x3D5) == 0x12);
  CHECK(s.In(0x3CC) == 0x67);
  s.vga.WritePort(0x3D4, 2, 0x340C);  // index and data at once
  CHECK(s.In(0x3D5) == 0x34);
}

TEST_CASE("Mono and colour ports answer one at a time") {
  Scene s;
  s.Out(0x3C2, 0x66);
  s.Out(0x3B4, 0x0F), s.Out(0x3B5, 0x55);
  CHECK(s.In(0x3B5) == 0x55);
  CHECK(s.In(0x3D5) == 0xFF);
  s.Out(0x3C2, 0x67);
  CHECK(s.In(0x3D5) == 0x55);
  CHECK(s.In(0x3B5) == 0xFF);
}

TEST_CASE("Reading input status 1 makes the attribute controller expect an index") {
  Scene s;
  s.Out(0x3C2, 0x67);
  s.In(0x3DA);
  s.Out(0x3C0, 0x31), s.Out(0x3C0, 0x2A);
  CHECK(s.In(0x3C0) == 0x31);
  CHECK(s.In(0x3C1) == 0x2A);
  s.Out(0x3C0, 0x02);
  s.In(0x3DA);
  s.Out(0x3C0, 0x03), s.Out(0x3C0, 0xFF);
  CHECK(s.In(0x3C1) == 0x3F);
}

TEST_CASE("Timing registers are protected by bit 7 of the retrace end, except for line compare") {
  Scene s;
  s.Set(kMode03);
  s.Crtc(0x11, 0x8E);
  s.Crtc(0x00, 0x12), s.Crtc(0x07, 0x00);
  s.Out(0x3D4, 0x00);
  CHECK(s.In(0x3D5) == 0x5F);
  s.Out(0x3D4, 0x07);
  CHECK(s.In(0x3D5) == 0x0F);
}

TEST_CASE("The DAC takes three bytes a colour, counts on and tells its state") {
  Scene s;
  s.Out(0x3C8, 10);
  for (const uint8_t value : {1, 2, 3, 0x7F, 5, 6}) s.Out(0x3C9, value);
  CHECK(s.In(0x3C8) == 12);
  CHECK(s.In(0x3C7) == 0);
  s.Out(0x3C7, 10);
  CHECK(s.In(0x3C7) == 3);
  for (const uint8_t value : {1, 2, 3, 0x3F, 5, 6}) CHECK(s.In(0x3C9) == value);
  s.Out(0x3C6, 0x0A);
  CHECK(s.vga.Dac().Colour(0xFF) == s.vga.Dac().Colour(10));
  CHECK(s.vga.Dac().Colour(10) == 0x04080C);
}

TEST_CASE("The text mode for guests without a BIOS is the BIOS's mode 3") {
  Scene bios, direct;
  bios.Set(kMode03);
  std::vector<uint8_t> font(4096, 0x18);
  direct.vga.EnterTextMode(font);
  CHECK(direct.vga.Registers().crtc == bios.vga.Registers().crtc);
  CHECK(direct.vga.Registers().attribute == bios.vga.Registers().attribute);
  CHECK(direct.vga.Registers().graphics == bios.vga.Registers().graphics);
  CHECK(direct.vga.Registers().sequencer == bios.vga.Registers().sequencer);
  direct.Draw();
  CHECK(direct.Pixel(3, 0) == 0xAAAAAA);
  CHECK(direct.Pixel(0, 0) == 0);
  CHECK(direct.frame.text.Utf8() == std::string(25, '\n'));
}

TEST_CASE("A video BIOS that reads words at port 1CFh finds the Bochs registers") {
  Scene scene;
  PortBus ports;
  ports.Attach(Vga::kBochsIndexPort, Vga::kBochsPortCount, scene.vga.BochsPorts(), "Bochs display");
  ports.Write(0x1CE, 2, BochsDisplay::kId);
  ports.Write(0x1CF, 2, 0xB0C0);
  CHECK(ports.Read(0x1CE, 2) == BochsDisplay::kId);
  CHECK(ports.Read(0x1CF, 2) == 0xB0C0);
  CHECK(ports.Read(0x1D0, 2) == 0xB0C0);
}

}  // namespace
}  // namespace ring3
