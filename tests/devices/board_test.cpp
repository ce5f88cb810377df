#include "devices/board.h"

#include <catch2/catch.hpp>
#include <string>

#include "tests/devices/device_test_support.h"

namespace ring3 {
namespace {

struct BoardFixture {
  ManualClock clock{1'000'000};
  std::string serial_output;
  std::string debug_output;
  std::vector<std::string> events;
  Board board;

  explicit BoardFixture(BoardOptions options = {}) : board(clock, Complete(std::move(options)), Events()) {}

  BoardOptions Complete(BoardOptions options) {
    options.ram_bytes = 64 << 20;
    options.serial[0] = [this](std::span<const uint8_t> bytes) { serial_output.append(bytes.begin(), bytes.end()); };
    options.debug_console = [this](std::span<const uint8_t> bytes) { debug_output.append(bytes.begin(), bytes.end()); };
    options.start_unix_ns = 1'700'000'000ull * kNanosecondsPerSecond;
    return options;
  }
  BoardEvents Events() {
    return {.a20 = [this](bool on) { events.push_back(on ? "a20 on" : "a20 off"); },
            .reset = [this] { events.push_back("reset"); },
            .power_off = [this] { events.push_back("power off"); },
            .debug_exit = [this](int code) { events.push_back("exit " + std::to_string(code)); },
            .interrupt_changed = [this] { events.push_back(board.Pics().HasInterrupt() ? "intr" : "no intr"); }};
  }
  void Out(uint16_t port, uint32_t value, unsigned size = 1) { board.Ports().Write(port, size, value); }
  uint32_t In(uint16_t port, unsigned size = 1) { return board.Ports().Read(port, size); }
  void Advance(uint64_t ns) { AdvanceExactly(clock, board.Timers(), ns); }
  void InitializePics() {
    for (const uint16_t port : {layout::kMasterPicPort, layout::kSlavePicPort}) {
      Out(port, 0x11);
      Out(port + 1, port == layout::kMasterPicPort ? 0x20 : 0x28);
      Out(port + 1, port == layout::kMasterPicPort ? 4 : 2);
      Out(port + 1, 1);
      Out(port + 1, 0);
    }
  }
};

}  // namespace

TEST_CASE("board: everything attaches without overlap", "[board]") {
  CHECK_NOTHROW(BoardFixture());
  CHECK_NOTHROW(BoardFixture({.debug_exit = DebugExitPorts{}}));
  CHECK_THROWS_AS(BoardFixture({.debug_exit = DebugExitPorts{.first = layout::kSerial1Port, .count = 1}}), PortOverlap);
}

TEST_CASE("board: a new board is idle", "[board]") {
  BoardFixture f;
  CHECK(f.board.NextDeadline() == std::nullopt);
  CHECK_FALSE(f.board.Pics().HasInterrupt());
  CHECK(f.events.empty());
}

TEST_CASE("board: the timer interrupts through the master controller", "[board]") {
  BoardFixture f;
  f.InitializePics();
  f.Out(0x43, 0x34);
  f.Out(0x40, 0x9B);  // 11931 ticks are just under 10 ms
  f.Out(0x40, 0x2E);
  CHECK(f.board.Pics().Acknowledge() == 0x20);  // OUT rose when mode 2 was set
  f.Out(0x20, 0x20);
  f.events.clear();
  unsigned ticks = 0;
  for (int i = 0; i < 1000; ++i) {
    f.Advance(1'000'000);
    if (!f.board.Pics().HasInterrupt()) continue;
    REQUIRE(f.board.Pics().Acknowledge() == 0x20);
    f.Out(0x20, 0x20);
    ++ticks;
  }
  CHECK(ticks == 100);
  CHECK(f.events.size() == 200);
}

TEST_CASE("board: lines of the other devices", "[board]") {
  BoardFixture f;
  f.InitializePics();
  const auto take = [&f] {
    const unsigned vector = f.board.Pics().Acknowledge();
    if (vector >= 0x28) f.Out(0xA0, 0x20);
    f.Out(0x20, 0x20);
    return vector;
  };
  f.board.Keyboard().Key(0x1E, false, true);
  CHECK(take() == 0x21);
  f.Out(0x3FC, 0x0B);
  f.Out(0x3F9, 0x01);
  f.board.Serial().Receive('x');
  CHECK(take() == 0x24);
  f.Out(0x70, 0x0B);
  f.Out(0x71, 0x12);
  f.Advance(kNanosecondsPerSecond);
  CHECK(take() == 0x28);
  f.Out(layout::kPm1EventPort + 2, 0x0100, 2);
  f.Out(layout::kSmiCommandPort, AcpiPm::kAcpiEnable);
  f.board.Pm().PressPowerButton();
  CHECK(take() == 0x29);
  f.In(0x60);
  f.Out(0x64, 0x60);
  f.Out(0x60, 0x47);
  f.Out(0x64, 0xD4);
  f.Out(0x60, 0xF4);
  f.Advance(1'000'000);
  CHECK(take() == 0x2C);
}

TEST_CASE("board: port 61h gates timer 2 and shows the refresh toggle", "[board]") {
  BoardFixture f;
  f.Out(0x61, 0x00);
  f.Out(0x43, 0xB0);
  f.Out(0x42, 0x10);
  f.Out(0x42, 0x00);
  f.Advance(1'000'000);
  CHECK((f.In(0x61) & 0x2F) == 0x00);
  f.Out(0x61, 0x01);
  f.Advance(20'000);
  CHECK((f.In(0x61) & 0x2F) == 0x21);
  unsigned toggles = 0;
  for (uint32_t i = 0, before = f.In(0x61) & 0x10; i < 1000; ++i) {
    f.Advance(1000);
    if ((f.In(0x61) & 0x10) != before) ++toggles;
    before = f.In(0x61) & 0x10;
  }
  CHECK(toggles == Approx(1000.0 / 15.085).margin(1));
}

TEST_CASE("board: the A20 gates agree", "[board]") {
  BoardFixture f;
  CHECK(f.In(0x92) == 0x02);
  f.Out(0x92, 0x00);
  f.Out(0x64, 0xD0);
  CHECK((f.In(0x60) & 2) == 0);
  f.Out(0x64, 0xDF);
  CHECK(f.In(0x92) == 0x02);
  CHECK(f.events == std::vector<std::string>{"a20 off", "a20 on"});
}

TEST_CASE("board: the ways to reset", "[board]") {
  BoardFixture f;
  f.Out(0x92, 0x03);
  f.Out(0x64, 0xFE);
  f.Out(0xCF9, ResetControl::kFullReset);
  CHECK(f.events == std::vector<std::string>{"a20 on", "reset", "reset", "reset"});
}

TEST_CASE("board: the ways out flush the consoles first", "[board]") {
  BoardFixture f({.debug_exit = DebugExitPorts{}});
  for (const char c : std::string("bye")) f.Out(0x3F8, static_cast<uint8_t>(c));
  for (const char c : std::string("dbg")) f.Out(0xE9, static_cast<uint8_t>(c));
  CHECK(f.In(0xE9) == 0xE9);
  CHECK(f.serial_output.empty());
  f.Out(layout::kDebugExitPort, 0x10, 1);
  CHECK(f.serial_output == "bye");
  CHECK(f.debug_output == "dbg");
  f.Out(layout::kPm1ControlPort, 0x2000 | AcpiPm::kSleepTypeS5 << 10, 2);
  CHECK(f.events == std::vector<std::string>{"exit 33", "power off"});
}

TEST_CASE("board: CMOS, POST port and PCI are there", "[board]") {
  BoardFixture f;
  f.Out(0x70, 0x34);
  CHECK(f.In(0x71) == 0x00);
  f.Out(0x70, 0x35);
  CHECK(f.In(0x71) == 0x03);  // 48 MiB above 16 MiB are 300h units of 64 KiB
  f.Out(0x80, 0x42);
  CHECK(f.board.Post().LastCode() == 0x42);
  f.Out(0xCF8, 0x80000000, 4);
  CHECK(f.In(0xCFC, 4) == 0x12378086);
  BoardFixture without({.pci_host_bridge = false});
  without.Out(0xCF8, 0x80000000, 4);
  CHECK(without.In(0xCF8, 4) == 0x80000000);
  CHECK(without.In(0xCFC, 4) == 0xFFFFFFFF);
}

TEST_CASE("board: reset puts every chip back", "[board]") {
  BoardFixture f;
  f.InitializePics();
  f.Out(0x43, 0x34);
  f.Out(0x40, 0x00);
  f.Out(0x40, 0x10);
  f.Out(0x3F9, 0x0F);
  f.Out(0x3FC, 0x0B);
  f.Out(0x70, 0x0B);
  f.Out(0x71, 0x72);
  f.Out(0x61, 0x03);
  f.Out(0x80, 0x11);
  f.Out(0x92, 0x00);
  f.Out(0xCF8, 0x80000000, 4);
  f.board.Keyboard().Key(0x1E, false, true);
  f.board.Mouse().Move(1, 1, 0, 0);
  f.events.clear();
  f.board.Reset();
  CHECK(f.board.NextDeadline() == std::nullopt);
  CHECK_FALSE(f.board.Pics().HasInterrupt());
  CHECK(f.events.back() == "a20 on");
  CHECK(f.In(0x21) == 0xFF);
  CHECK(f.In(0x3F9) == 0x00);
  CHECK((f.In(0x61) & 0x0F) == 0x00);
  CHECK((f.In(0x64) & 1) == 0);
  CHECK(f.In(0x80) == 0x00);
  CHECK(f.In(0x92) == 0x02);
  CHECK(f.In(0xCF8, 4) == 0);
  f.Out(0x70, 0x0B);
  CHECK(f.In(0x71) == 0x02);
}

TEST_CASE("board: COM2 to COM4 are there when asked for; COM1 and COM3 share a line", "[board]") {
  std::string third;
  BoardOptions options;
  options.serial_ports = 0b101;
  options.serial[2] = [&third](std::span<const uint8_t> bytes) { third.append(bytes.begin(), bytes.end()); };
  BoardFixture f(std::move(options));
  CHECK(f.board.Serial(0) == &f.board.Serial());
  CHECK(f.board.Serial(1) == nullptr);
  REQUIRE(f.board.Serial(2) != nullptr);
  CHECK(f.board.SerialPorts() == 0b101);
  CHECK(f.In(0x2FF) == 0xFF);
  f.Out(0x3EF, 0x42);
  CHECK(f.In(0x3EF) == 0x42);
  f.Out(0x3E8, 'x');
  f.board.FlushOutput();
  CHECK(third == "x");
  CHECK(f.serial_output.empty());
}

TEST_CASE("board: a shared line is high while any of its wires is", "[board]") {
  RecordingIrqs irqs;
  SharedLine shared(irqs, 4);
  IrqLine first(shared, 0), third(shared, 2);
  first.Set(true);
  third.Set(true);
  first.Set(false);
  CHECK(irqs.levels[4]);
  third.Set(false);
  CHECK_FALSE(irqs.levels[4]);
  CHECK(irqs.edges[4] == 1);
}

}  // namespace ring3
