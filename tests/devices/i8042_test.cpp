#include "devices/i8042.h"

#include <catch2/catch.hpp>

#include "tests/devices/device_test_support.h"

namespace ring3 {
namespace {

using Bytes = std::vector<unsigned>;
constexpr uint64_t kByteTime = 900'000;

struct KeyboardFixture {
  ManualClock clock{1'000'000'000};
  TimerQueue timers;
  RecordingIrqs irqs;
  std::vector<bool> a20;
  unsigned resets = 0;
  I8042 controller{clock,
                   timers,
                   IrqLine(irqs, 1),
                   IrqLine(irqs, 12),
                   {.a20 = [this](bool on) { a20.push_back(on); }, .reset = [this] { ++resets; }}};
  PortBus bus;

  KeyboardFixture() {
    bus.Attach(0x60, 1, controller, "data");
    bus.Attach(0x64, 1, controller, "command");
  }
  void Command(uint8_t value) { bus.Write(0x64, 1, value); }
  void Data(uint8_t value) { bus.Write(0x60, 1, value); }
  uint8_t Status() { return static_cast<uint8_t>(bus.Read(0x64, 1)); }
  uint8_t Read() { return static_cast<uint8_t>(bus.Read(0x60, 1)); }
  uint8_t Ask(uint8_t command) {
    Command(command);
    return Read();
  }
  void SetCommandByte(uint8_t value) {
    Command(0x60);
    Data(value);
  }
  /// Everything that the devices have to say, at the speed of the line.
  Bytes Drain() {
    Bytes bytes;
    for (;;) {
      AdvanceExactly(clock, timers, kByteTime);
      if ((Status() & 1) == 0) return bytes;
      bytes.push_back(Read());
    }
  }
  Bytes Keyboard(std::initializer_list<uint8_t> sent) {
    for (const uint8_t byte : sent) Data(byte);
    return Drain();
  }
  Bytes Mouse(std::initializer_list<uint8_t> sent) {
    Bytes all;
    for (const uint8_t byte : sent) {
      Command(0xD4);
      Data(byte);
      for (const unsigned answer : Drain()) all.push_back(answer);
    }
    return all;
  }
};

}  // namespace

TEST_CASE("8042: self tests and command byte", "[8042]") {
  KeyboardFixture f;
  CHECK(f.Ask(0xAA) == 0x55);
  CHECK(f.Ask(0xAB) == 0x00);
  CHECK(f.Ask(0xA9) == 0x00);
  CHECK(f.Ask(0x20) == 0x65);
  f.SetCommandByte(0x47);
  CHECK(f.Ask(0x20) == 0x47);
  f.Command(0xA7);
  CHECK(f.Ask(0x20) == 0x67);
  f.Command(0xA8);
  f.Command(0xAD);
  CHECK(f.Ask(0x20) == 0x57);
  f.Command(0xAE);
  CHECK(f.Ask(0x20) == 0x47);
  f.Command(0x65);
  f.Data(0x99);
  CHECK(f.Ask(0x25) == 0x99);
  CHECK(f.Ask(0xC0) == 0x80);
}

TEST_CASE("8042: status register", "[8042]") {
  KeyboardFixture f;
  CHECK(f.Status() == 0x14);
  f.Command(0xAA);
  CHECK(f.Status() == 0x1D);
  f.Read();
  CHECK(f.Status() == 0x1C);
  f.Command(0xD3);
  f.Data(0x5A);
  CHECK(f.Status() == 0x35);  // mouse data, last write was data
  CHECK(f.Read() == 0x5A);
  f.Command(0xD2);
  f.Data(0xA5);
  CHECK(f.Status() == 0x15);
  CHECK(f.Read() == 0xA5);
}

TEST_CASE("8042: keys are translated to set 1 and interrupt", "[8042]") {
  KeyboardFixture f;
  f.controller.Keyboard().Key(0x1E, false, true);  // A
  CHECK(f.irqs.levels[1]);
  CHECK(f.Read() == 0x1E);
  CHECK_FALSE(f.irqs.levels[1]);
  f.controller.Keyboard().Key(0x1E, false, false);
  f.controller.Keyboard().Key(0x48, true, true);  // cursor up
  f.controller.Keyboard().Key(0x48, true, false);
  f.controller.Keyboard().Key(0x41, false, true);  // F7
  CHECK(f.Drain() == Bytes{0x9E, 0xE0, 0x48, 0xE0, 0xC8, 0x41});
  CHECK(f.irqs.edges[1] == 7);
}

TEST_CASE("8042: every set 1 key survives the way through set 2", "[8042]") {
  KeyboardFixture f;
  for (unsigned code = 1; code < 0x80; ++code) {
    f.controller.Keyboard().Key(static_cast<uint8_t>(code), false, true);
    f.controller.Keyboard().Key(static_cast<uint8_t>(code), false, false);
    REQUIRE(f.Drain() == Bytes{code, code | 0x80});
  }
}

TEST_CASE("8042: without translation set 2 comes through; set 1 can be chosen", "[8042]") {
  KeyboardFixture f;
  f.SetCommandByte(0x05);
  f.controller.Keyboard().Key(0x1E, false, true);
  f.controller.Keyboard().Key(0x1E, false, false);
  CHECK(f.Drain() == Bytes{0x1C, 0xF0, 0x1C});
  CHECK(f.Keyboard({0xF0, 0x00}) == Bytes{0xFA, 0xFA, 0x02});  // each byte is acknowledged
  CHECK(f.Keyboard({0xF0, 0x01}) == Bytes{0xFA, 0xFA});
  f.controller.Keyboard().Key(0x1E, true, false);
  CHECK(f.Drain() == Bytes{0xE0, 0x9E});
  CHECK(f.Keyboard({0xF0, 0x03}) == Bytes{0xFA, 0xFA});
  CHECK(f.Keyboard({0xF0, 0x00}) == Bytes{0xFA, 0xFA, 0x01});
}

TEST_CASE("8042: a byte can be read twice before the next one arrives", "[8042]") {
  KeyboardFixture f;
  f.controller.Keyboard().Key(0x02, false, true);
  f.controller.Keyboard().Key(0x03, false, true);
  CHECK(f.Read() == 0x02);
  CHECK(f.Read() == 0x02);
  CHECK((f.Status() & 1) == 0);
  CHECK(f.timers.NextDeadline() == f.clock.NowNs() + kByteTime);
  AdvanceExactly(f.clock, f.timers, kByteTime);
  CHECK(f.irqs.edges[1] == 2);
  CHECK(f.Read() == 0x03);
}

TEST_CASE("8042: keyboard commands", "[8042]") {
  KeyboardFixture f;
  CHECK(f.Keyboard({0xFF}) == Bytes{0xFA, 0xAA});
  CHECK(f.Keyboard({0xF2}) == Bytes{0xFA, 0xAB, 0x41});  // 83h, translated
  CHECK(f.Keyboard({0xEE}) == Bytes{0xEE});
  CHECK(f.Keyboard({0xED}) == Bytes{0xFA});
  CHECK(f.Keyboard({0x05}) == Bytes{0xFA});
  CHECK(f.controller.Keyboard().Leds() == 5);
  CHECK(f.Keyboard({0xF3}) == Bytes{0xFA});
  CHECK(f.Keyboard({0x20}) == Bytes{0xFA});
  CHECK(f.Keyboard({0xFE}) == Bytes{0xFA});
  CHECK(f.Keyboard({0x12}) == Bytes{0xFE});
  CHECK(f.Keyboard({0xF5}) == Bytes{0xFA});
  f.controller.Keyboard().Key(0x1E, false, true);
  CHECK(f.Drain().empty());
  CHECK(f.Keyboard({0xF4}) == Bytes{0xFA});
  f.controller.Keyboard().Key(0x1E, false, true);
  CHECK(f.Drain() == Bytes{0x1E});
}

TEST_CASE("8042: a disabled keyboard waits", "[8042]") {
  KeyboardFixture f;
  f.Command(0xAD);
  f.controller.Keyboard().Key(0x1E, false, true);
  CHECK(f.Drain().empty());
  f.Command(0xAE);
  CHECK(f.Drain() == Bytes{0x1E});
}

TEST_CASE("8042: interrupts follow their enables", "[8042]") {
  KeyboardFixture f;
  f.SetCommandByte(0x44);
  f.controller.Keyboard().Key(0x1E, false, true);
  CHECK_FALSE(f.irqs.levels[1]);
  f.SetCommandByte(0x45);
  CHECK(f.irqs.levels[1]);
  f.Read();
  f.SetCommandByte(0x47);
  f.Command(0xD3);
  f.Data(0x11);
  CHECK(f.irqs.levels[12]);
  CHECK_FALSE(f.irqs.levels[1]);
}

TEST_CASE("8042: a full keyboard drops keys whole", "[8042]") {
  KeyboardFixture f;
  for (int i = 0; i < 20; ++i) f.controller.Keyboard().Key(0x48, true, true);
  const Bytes bytes = f.Drain();
  CHECK(bytes.size() % 2 == 0);
  CHECK(bytes.size() <= 18);
  CHECK(bytes.size() >= 14);
}

TEST_CASE("8042: mouse reset, identification and the IntelliMouse knock", "[8042]") {
  KeyboardFixture f;
  f.SetCommandByte(0x47);
  CHECK(f.Mouse({0xFF}) == Bytes{0xFA, 0xAA, 0x00});
  CHECK(f.Mouse({0xF2}) == Bytes{0xFA, 0x00});
  f.Mouse({0xF3, 200, 0xF3, 200, 0xF3, 80});  // Explorer's knock counts only after the wheel's
  CHECK(f.Mouse({0xF2}) == Bytes{0xFA, 0x00});
  f.Mouse({0xF3, 200, 0xF3, 100, 0xF3, 80});
  CHECK(f.Mouse({0xF2}) == Bytes{0xFA, 0x03});
  f.Mouse({0xF3, 200, 0xF3, 200, 0xF3, 80});
  CHECK(f.Mouse({0xF2}) == Bytes{0xFA, 0x04});
  f.Mouse({0xE8, 3});
  CHECK(f.Mouse({0xE9}) == Bytes{0xFA, 0x00, 3, 80});
  CHECK(f.Mouse({0xFF}) == Bytes{0xFA, 0xAA, 0x00});
}

TEST_CASE("8042: mouse packets", "[8042]") {
  KeyboardFixture f;
  f.SetCommandByte(0x47);
  Ps2Mouse& mouse = f.controller.Mouse();
  mouse.Move(1, 1, 0, 0);
  CHECK(f.Drain().empty());  // not reporting yet
  CHECK(f.Mouse({0xF6, 0xF4}) == Bytes{0xFA, 0xFA});
  f.irqs.edges[12] = 0;
  mouse.Move(5, -3, 0, Ps2Mouse::kLeft);
  CHECK(f.Drain() == Bytes{0x29, 0x05, 0xFD});
  CHECK(f.irqs.edges[12] == 3);
  mouse.Move(300, 0, 0, 0);
  CHECK(f.Drain() == Bytes{0x08, 0xFF, 0x00, 0x08, 0x2D, 0x00});
  f.Mouse({0xF3, 200, 0xF3, 100, 0xF3, 80});
  mouse.Move(0, 0, -1, Ps2Mouse::kMiddle);
  CHECK(f.Drain() == Bytes{0x0C, 0x00, 0x00, 0xFF});
  CHECK(f.Mouse({0xF0}) == Bytes{0xFA});
  mouse.Move(7, 0, 0, 0);
  CHECK(f.Drain().empty());  // remote mode: only on request
  CHECK(f.Mouse({0xEB}) == Bytes{0xFA, 0x08, 0x07, 0x00, 0x00});
  CHECK(f.Mouse({0xEE, 0x55, 0xEC}) == Bytes{0xFA, 0x55, 0xFA});
}

TEST_CASE("8042: A20 through the output port and the short commands", "[8042]") {
  KeyboardFixture f;
  CHECK(f.Ask(0xD0) == 0xCF);
  f.Command(0xD1);
  f.Data(0xDD);
  CHECK(f.Ask(0xD0) == 0xCD);
  f.Command(0xDF);
  f.Command(0xDD);
  CHECK(f.a20 == std::vector<bool>{false, true, false});
  f.controller.SetA20(true);
  CHECK((f.Ask(0xD0) & 2) == 2);
  CHECK(f.resets == 0);
}

TEST_CASE("8042: reset pulses", "[8042]") {
  KeyboardFixture f;
  f.Command(0xFF);
  CHECK(f.resets == 0);
  f.Command(0xFE);
  CHECK(f.resets == 1);
  f.Command(0xD1);
  f.Data(0xDE);
  CHECK(f.resets == 2);
}

}  // namespace ring3
