#include "devices/key_names.h"

#include <catch2/catch.hpp>
#include <set>

#include "devices/key_player.h"
#include "tests/devices/device_test_support.h"

namespace ring3 {
namespace {

std::vector<unsigned> Take(Ps2Keyboard& keyboard) {
  std::vector<unsigned> bytes;
  while (keyboard.HasOutput()) bytes.push_back(keyboard.TakeOutput());
  return bytes;
}

TEST_CASE("keys have QEMU's names and the codes of a PC keyboard", "[key_names]") {
  CHECK(FindKey("ret") == Key{0x1C, false, false});
  CHECK(FindKey("kp_enter") == Key{0x1C, true, false});
  CHECK(FindKey("delete") == Key{0x53, true, false});
  CHECK(FindKey("less") == Key{0x56, false, false});
  CHECK(FindKey("meta_l") == Key{0x5B, true, false});
  CHECK(FindKey("pause")->pause);
  CHECK_FALSE(FindKey("any"));
  CHECK_FALSE(FindKey(""));
}

TEST_CASE("names are unique, and each key has one", "[key_names]") {
  std::set<std::string_view> names;
  for (const NamedKey& named : AllKeys()) {
    CHECK(names.insert(named.name).second);
    CHECK(FindKey(NameOf(named.key)) == named.key);
    CHECK((named.key.set1 >= 1 && named.key.set1 <= 0x7F));
  }
}

TEST_CASE("every key makes the keyboard send something in set 2", "[key_names]") {
  Ps2Keyboard keyboard;
  for (const NamedKey& named : AllKeys()) {
    INFO(named.name);
    SendKey(keyboard, named.key, true);
    const auto bytes = Take(keyboard);
    REQUIRE_FALSE(bytes.empty());
    CHECK(bytes.back() != 0);
    SendKey(keyboard, named.key, false);
    Take(keyboard);
  }
}

TEST_CASE("key numbers are QEMU's: the code, plus 80h for extended keys", "[key_names]") {
  CHECK(FindKeyNumber(0x1C) == FindKey("ret"));
  CHECK(FindKeyNumber(0x9C) == FindKey("kp_enter"));
  CHECK(FindKeyNumber(0xC5) == FindKey("pause"));
  CHECK_FALSE(FindKeyNumber(0));
  CHECK_FALSE(FindKeyNumber(0x80));
  CHECK_FALSE(FindKeyNumber(0x100));
}

TEST_CASE("chords are names or numbers joined by dashes", "[key_names]") {
  CHECK(ParseKeyChord("ctrl-alt-delete") == KeyChord{*FindKey("ctrl"), *FindKey("alt"), *FindKey("delete")});
  CHECK(ParseKeyChord("0x1d-c") == KeyChord{*FindKey("ctrl"), *FindKey("c")});
  for (const char* wrong : {"", "-", "a-", "-a", "ctrl-nonsense", "0x", "0xfff", "0x1dz"})
    CHECK_FALSE(ParseKeyChord(wrong));
}

TEST_CASE("a US layout types all of ASCII's printable characters", "[key_names]") {
  std::set<std::pair<unsigned, bool>> seen;
  for (char c = ' '; c <= '~'; ++c) {
    INFO(c);
    const auto chord = ChordOf(c);
    REQUIRE(chord);
    CHECK(seen.insert({chord->back().set1, chord->size() == 2}).second);
  }
  CHECK(ChordOf('A') == KeyChord{*FindKey("shift"), *FindKey("a")});
  CHECK(ChordOf('\n') == KeyChord{*FindKey("ret")});
  CHECK_FALSE(ChordOf('\x01'));
  CHECK_FALSE(ChordOf('\xE4'));
}

TEST_CASE("a played chord is held, and the next waits for it and for the guest", "[key_names]") {
  ManualClock clock{1'000'000'000};
  TimerQueue timers;
  Ps2Keyboard keyboard;
  KeyPlayer player(clock, timers, keyboard);
  REQUIRE(player.Play(*ParseKeyChord("shift"), 100'000'000, 0));
  REQUIRE(player.Play(*FindKey("a"), true));
  CHECK(Take(keyboard) == std::vector<unsigned>{0x12});
  AdvanceExactly(clock, timers, 99'000'000);
  CHECK_FALSE(keyboard.HasOutput());
  AdvanceExactly(clock, timers, 1'000'000);
  CHECK(Take(keyboard) == std::vector<unsigned>{0xF0, 0x12});
  AdvanceExactly(clock, timers, 10'000'000);
  CHECK(Take(keyboard) == std::vector<unsigned>{0x1C});
  CHECK(player.Idle());
}

TEST_CASE("a guest that takes no keys does not lose those that wait", "[key_names]") {
  ManualClock clock{1'000'000'000};
  TimerQueue timers;
  Ps2Keyboard keyboard;
  KeyPlayer player(clock, timers, keyboard);
  std::vector<unsigned> expected, got;
  for (int i = 0; i < 50; ++i) {
    REQUIRE(player.Play(*ParseKeyChord("a"), 1'000'000, 1'000'000));
    expected.insert(expected.end(), {0x1C, 0xF0, 0x1C});
  }
  AdvanceExactly(clock, timers, kNanosecondsPerSecond);
  while (keyboard.HasOutput()) {
    for (unsigned byte : Take(keyboard)) got.push_back(byte);
    AdvanceExactly(clock, timers, 20'000'000);
  }
  CHECK(got == expected);
}

TEST_CASE("what plays is bounded", "[key_names]") {
  ManualClock clock;
  TimerQueue timers;
  Ps2Keyboard keyboard;
  KeyPlayer player(clock, timers, keyboard);
  unsigned taken = 0;
  while (player.Play(*FindKey("a"), true) && taken <= KeyPlayer::kMostEvents + 2) ++taken;
  CHECK(taken <= KeyPlayer::kMostEvents + 1);
  player.Clear();
  CHECK(player.Idle());
}

}  // namespace
}  // namespace ring3
