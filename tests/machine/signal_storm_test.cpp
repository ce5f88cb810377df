// Kicks at any time, much more often than timers and input send them: the guest must not notice.
#include <signal.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <random>
#include <thread>

#include "tests/machine/process.h"

namespace ring3::test {
namespace {

using namespace std::chrono_literals;

/// Sends up to `count` kicks, up to `longest` apart, until the process ends. Returns how many.
int Storm(Process& process, int count, std::chrono::microseconds longest) {
  std::mt19937 random(static_cast<uint32_t>(longest.count()));
  int sent = 0;
  for (; sent < count && process.Running(); ++sent) {
    process.Kill(SIGUSR1);
    const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(random() % (longest.count() + 1));
    while (std::chrono::steady_clock::now() < until) {
    }
  }
  return sent;
}

void CheckDemoInStorm(const std::vector<std::string>& arguments, std::chrono::microseconds longest) {
  Process process(arguments);
  REQUIRE(process.WaitForSignalHandler());
  const int sent = Storm(process, 10'000, longest);
  const Outcome run = process.Wait();
  CAPTURE(longest.count(), sent, run.err);
  CHECK(sent > 100);
  CHECK(run.exit_code == 0);
  CHECK_THAT(run.out, Catch::Contains(" checks, 0 differ"));
}

}  // namespace

TEST_CASE("storm: the demo", "[storm]") {
  for (const auto longest : {100us, 50us, 20us, 5us}) {
    for (int i = 0; i < 4; ++i) CheckDemoInStorm({"demo"}, longest);
  }
}

TEST_CASE("storm: the demo with a small cache, and with blocks of one instruction", "[storm]") {
  CheckDemoInStorm({"demo", "--tc-size", "256K"}, 20us);
  CheckDemoInStorm({"demo", "--one-instruction-blocks"}, 20us);
  CheckDemoInStorm({"demo", "--no-link"}, 20us);
}

TEST_CASE("storm: a loop over invalid instructions, page crossings, flags and strings", "[storm]") {
  const std::vector<std::string> arguments{"run", "--kernel", RING3_STORM_GUEST, "--device",
                                           "isa-debug-exit,iobase=0xf4"};
  const std::string checksum = "\x6B\x9D\xDE\x2C";  // QEMU agrees
  constexpr int kLeave = 0x21;
  const Outcome calm = Run(arguments);
  REQUIRE(calm.exit_code == kLeave);
  REQUIRE(calm.err == checksum);
  for (const auto longest : {100us, 50us, 20us, 10us, 5us}) {
    Process process(arguments);
    REQUIRE(process.WaitForSignalHandler());
    const int sent = Storm(process, 10'000, longest);
    const Outcome run = process.Wait();
    CAPTURE(longest.count(), sent);
    CHECK(run.exit_code == kLeave);
    CHECK(run.err == checksum);
    CHECK(run.out.empty());
  }
}

}  // namespace ring3::test
