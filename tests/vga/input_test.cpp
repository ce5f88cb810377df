// Keys and pointer from front ends to the keyboard and mouse.
#include <catch2/catch.hpp>
#include <vector>

#include "monitor/display/guest_input.h"
#include "monitor/display/keysyms.h"
#include "monitor/display/sdl_keys.h"
#include "monitor/display/terminal_keys.h"

namespace ring3 {
namespace {

constexpr uint32_t kShiftL = 0xFFE1, kCapsLock = 0xFFE5, kReturn = 0xFF0D;

struct Desk {
  ManualClock clock;
  TimerQueue timers;
  Mailbox mailbox{[] {}};
  Ps2Keyboard keyboard;
  Ps2Mouse mouse;
  VmPort pointer{mouse};
  GuestInput input{mailbox, clock, timers, keyboard, pointer};

  /// What the keyboard sends (set 2).
  std::vector<int> Bytes(Ps2Device& device) {
    mailbox.Run();
    std::vector<int> bytes;
    while (device.HasOutput()) bytes.push_back(device.TakeOutput());
    return bytes;
  }
  std::vector<int> Keys() { return Bytes(keyboard); }
};

TEST_CASE("Keysyms go down and up as keys") {
  Desk desk;
  desk.input.SendKeysym('a', true);
  desk.input.SendKeysym('a', false);
  CHECK(desk.Keys() == std::vector<int>{0x1C, 0xF0, 0x1C});
  desk.input.SendKeysym(kReturn, true);
  desk.input.SendKeysym(kReturn, false);
  CHECK(desk.Keys() == std::vector<int>{0x5A, 0xF0, 0x5A});
  desk.input.SendKeysym(0x12345678, true);
  CHECK(desk.Keys().empty());
}

TEST_CASE("A client that sends no Shift gets the one that its character needs") {
  Desk desk;
  desk.input.SendKeysym('A', true);
  desk.input.SendKeysym('A', false);
  CHECK(desk.Keys() == std::vector<int>{0x12, 0x1C, 0xF0, 0x1C, 0xF0, 0x12});
  desk.input.SendKeysym(kShiftL, true);
  desk.input.SendKeysym('A', true);
  desk.input.SendKeysym('A', false);
  CHECK(desk.Keys() == std::vector<int>{0x12, 0x1C, 0xF0, 0x1C});
  // Shift-7 of a German keyboard is a slash.
  desk.input.SendKeysym('/', true);
  desk.input.SendKeysym('/', false);
  CHECK(desk.Keys() == std::vector<int>{0xF0, 0x12, 0x4A, 0xF0, 0x4A, 0x12});
}

TEST_CASE("Caps Lock counts for letters") {
  Desk desk;
  desk.keyboard.Receive(0xED);
  desk.keyboard.Receive(0x04);
  desk.Keys();
  desk.input.SendKeysym('A', true);
  desk.input.SendKeysym('A', false);
  CHECK(desk.Keys() == std::vector<int>{0x1C, 0xF0, 0x1C});
  CHECK(KeyOfKeysym(kCapsLock));
}

TEST_CASE("Whoever goes away releases what was held") {
  Desk desk;
  desk.input.SendKeysym(0xFFE3, true);
  desk.input.SendKeysym('c', true);
  desk.Keys();
  desk.input.ReleaseAll();
  CHECK(desk.Keys().size() == 4);
  desk.input.ReleaseAll();
  CHECK(desk.Keys().empty());
}

TEST_CASE("An absolute pointer moves the mouse by differences") {
  Desk desk;
  desk.mouse.Receive(0xF4);
  desk.Bytes(desk.mouse);
  desk.input.PointAt(100, 100, 640, 480, 0, 0);
  CHECK(desk.Bytes(desk.mouse).empty());
  desk.input.PointAt(110, 95, 640, 480, 0, Ps2Mouse::kLeft);
  CHECK(desk.Bytes(desk.mouse) == std::vector<int>{0x09, 10, 5});
}

TEST_CASE("Terminal keys: control characters, function keys, Alt") {
  const auto chord = [](const char* keys) { return ParseKeyChord(keys); };
  CHECK(ChordOfTerminalKey({'a'}) == chord("a"));
  CHECK(ChordOfTerminalKey({'A'}) == chord("shift-a"));
  CHECK(ChordOfTerminalKey({3}) == chord("ctrl-c"));
  CHECK(ChordOfTerminalKey({13}) == chord("ret"));
  CHECK(ChordOfTerminalKey({127}) == chord("backspace"));
  CHECK(ChordOfTerminalKey({0x108 + 5, true}) == chord("f5"));  // KEY_F0 is 108h
  CHECK(ChordOfTerminalKey({0x108 + 14, true}) == chord("shift-f2"));
  CHECK(ChordOfTerminalKey({'x', false, true}) == chord("alt-x"));
  CHECK_FALSE(ChordOfTerminalKey({0x20AC}));
}

TEST_CASE("USB usages have keys") {
  CHECK(KeyOfUsbUsage(4) == FindKey("a"));
  CHECK(KeyOfUsbUsage(0x28) == FindKey("ret"));
  CHECK(KeyOfUsbUsage(0x45) == FindKey("f12"));
  CHECK(KeyOfUsbUsage(0x52) == FindKey("up"));
  CHECK(KeyOfUsbUsage(0x63) == FindKey("kp_decimal"));
  CHECK(KeyOfUsbUsage(0xE6) == FindKey("alt_r"));
  for (uint32_t usage = 4; usage < 0x66; ++usage) CHECK(KeyOfUsbUsage(usage));
  CHECK_FALSE(KeyOfUsbUsage(0));
  CHECK_FALSE(KeyOfUsbUsage(0xFFFF));
}

}  // namespace
}  // namespace ring3
