// The terminal: raw while the guest runs, and as it was before on every way out.
#include "tests/machine/terminal.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstring>
#include <thread>

#include "tests/machine/process.h"

namespace ring3::test {
using namespace std::chrono_literals;

TEST_CASE("terminal: Ctrl-A x quits", "[terminal]") {
  Terminal terminal;
  Process process(Abuse("spin"), {.in = terminal.Slave()});
  REQUIRE(terminal.BecomesRaw());
  SECTION("at once") { terminal.Type("\x01x"); }
  SECTION("after other keys") {
    terminal.Type("abc\x03\x01\x01\x01");
    terminal.Type("x");
  }
  SECTION("after the help") { terminal.Type("\x01h\x01x"); }
  const Outcome run = process.Wait(10);
  CHECK(run.exit_code == 0);
  CHECK(terminal.AsBefore());
}

TEST_CASE("terminal: Ctrl-A h shows the keys", "[terminal]") {
  Terminal terminal;
  Process process(Abuse("spin"), {.in = terminal.Slave()});
  REQUIRE(terminal.BecomesRaw());
  terminal.Type("\x01h");
  std::this_thread::sleep_for(100ms);
  terminal.Type("\x01x");
  CHECK_THAT(process.Wait(10).err, Catch::Contains("Ctrl-A x"));
}

TEST_CASE("terminal: Ctrl-C is the guest's", "[terminal]") {
  Terminal terminal;
  Process process(Abuse("spin", {"--max-seconds", "2"}), {.in = terminal.Slave()});
  REQUIRE(terminal.BecomesRaw());
  terminal.Type("\x03\x1C\x1A\x04");
  CHECK(process.Wait(10).exit_code == 124);
}

TEST_CASE("terminal: restored when a signal ends ring3", "[terminal]") {
  const int signal = GENERATE(SIGTERM, SIGINT, SIGHUP, SIGQUIT);
  CAPTURE(signal);
  Terminal terminal;
  Process process(Abuse("spin"), {.in = terminal.Slave()});
  REQUIRE(terminal.BecomesRaw());
  process.Kill(signal);
  CHECK(process.Wait(10).exit_code == 128 + signal);
  CHECK(terminal.AsBefore());
}

TEST_CASE("terminal: restored when the guest is gone", "[terminal]") {
  const auto [word, code] = GENERATE(table<std::string, int>({{"triple", 3}, {"garbage", 3}, {"none", 0}}));
  Terminal terminal;
  const Outcome run = Run(Abuse(word), {.in = terminal.Slave()}, 10);
  CHECK(run.exit_code == code);
  CHECK(terminal.AsBefore());
}

TEST_CASE("terminal: restored after --max-seconds", "[terminal]") {
  Terminal terminal;
  Process process(Abuse("spin", {"--max-seconds", "2"}), {.in = terminal.Slave()});
  REQUIRE(terminal.BecomesRaw());
  CHECK(process.Wait(10).exit_code == 124);
  CHECK(terminal.AsBefore());
}

TEST_CASE("terminal: restored when the output is gone", "[terminal]") {
  Terminal terminal;
  int ends[2];
  REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
  close(ends[0]);
  Process process({"demo"}, {.in = terminal.Slave(), .out = ends[1]});
  CHECK(process.Wait(30).exit_code == 2);
  close(ends[1]);
  CHECK(terminal.AsBefore());
}

TEST_CASE("terminal: left alone when the serial port is elsewhere", "[terminal]") {
  Terminal terminal;
  Process process(Abuse("spin", {"--serial", "none", "--max-seconds", "0.5"}), {.in = terminal.Slave()});
  while (process.Running()) {
    REQUIRE(terminal.AsBefore());
    std::this_thread::sleep_for(5ms);
  }
}

}  // namespace ring3::test
