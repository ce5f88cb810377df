// --engine: what the machine is, whichever engine runs it. Cases with [kvm] need /dev/kvm and say so where it is
// missing.
#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "tests/machine/process.h"
#include "tests/machine/terminal.h"

namespace ring3::test {
namespace {

using nlohmann::json;

constexpr const char* kCannotExecute = "KVM cannot emulate an instruction";

std::vector<std::string> Board(const std::string& engine, std::vector<std::string> more = {}) {
  std::vector<std::string> arguments{
      "run", "--kernel", RING3_BOARD_GUEST, "--engine", engine, "--device", "isa-debug-exit,iobase=0xf4,iosize=1"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

/// Whether `--engine kvm` can start here; says why not. The words are those that ctest takes for a skipped test.
bool KvmUsable() {
  const Outcome run = Run(Abuse("none", {"--engine", "kvm"}));
  if (run.exit_code != 2) return true;
  std::printf("skipped, no usable /dev/kvm: %s", run.err.c_str());
  return false;
}

void CheckBoard(const std::string& engine) {
  const Outcome run = Run(Board(engine));
  CAPTURE(run.err);
  CHECK(run.exit_code == (0x15 << 1 | 1));
  CHECK(run.out == "nothing there reads as ones\nA20 cuts addresses\nthe timer ticks\nup again\n");
  CHECK(run.err == "strings\n");
}

}  // namespace

TEST_CASE("engine: the board seen through translated code", "[engine]") { CheckBoard("bt"); }

TEST_CASE("engine: kvm where there is none", "[engine]") {
  for (const auto& [device, complaint] : {std::pair{"/nonexistent/kvm", "No such file"}, {"/dev/null", "protocol"}}) {
    const Outcome run =
        Run(Abuse("none", {"--engine", "kvm"}), {.environment = {std::string("RING3_KVM_DEVICE=") + device}});
    CAPTURE(run.err);
    CHECK(run.exit_code == 2);
    CHECK(run.out.empty());
    REQUIRE(LinesOf(run.err).size() == 1);
    CHECK_THAT(run.err, Catch::StartsWith("ring3: ") && Catch::Contains(device) && Catch::Contains(complaint));
  }
}

TEST_CASE("engine: options that make no sense together", "[engine]") {
  const auto refused = [](std::vector<std::string> more, const std::string& complaint) {
    const Outcome run = Run(Abuse("none", std::move(more)));
    CHECK(run.exit_code == 2);
    CHECK_THAT(run.err, Catch::Contains(complaint));
  };
  refused({"--engine", "xen"}, "say bt or kvm");
  for (const std::vector<std::string>& option : std::vector<std::vector<std::string>>{
           {"--dump", "-"}, {"--trace-exits", "-"}, {"--one-instruction-blocks"}, {"--no-link"}, {"--tc-size", "1M"}}) {
    std::vector<std::string> more{"--engine", "kvm"};
    more.insert(more.end(), option.begin(), option.end());
    refused(more, "translated code");
  }
}

TEST_CASE("engine: the board seen through KVM", "[kvm]") {
  if (!KvmUsable()) return;
  CheckBoard("kvm");
}

TEST_CASE("engine: a firmware image under KVM", "[kvm]") {
  if (!KvmUsable()) return;
  const Outcome run = Run({"run", "--bios", RING3_TEST_ROM, "--engine", "kvm", "--max-seconds", "30", "--device",
                           "isa-debug-exit,iobase=0xf4,iosize=1"});
  CAPTURE(run.err);
  CHECK(run.exit_code == (0x10 << 1 | 1));
  CHECK(run.out == "rom: protected mode\n");
}

TEST_CASE("engine: kvm ends as the translator does", "[kvm]") {
  if (!KvmUsable()) return;
  Scratch scratch;
  for (const auto& [word, code] : {std::pair{"none", 0}, {"triple", 3}, {"spin", 124}}) {
    CAPTURE(word);
    const Outcome run = Run(Abuse(word, {"--engine", "kvm", "--max-seconds", "0.5", "--stats", scratch.Path("stats")}));
    CHECK(run.exit_code == code);
    if (code == 3) CHECK_THAT(run.err, Catch::Contains("triple fault") && Catch::Contains("eip="));
    const json stats = json::parse(ReadFile(scratch.Path("stats")));
    CHECK(stats.at("engine") == "kvm");
    CHECK(stats.at("exits").at("port") > 0);
  }
  CHECK(Run(Board("kvm", {"--no-reboot"})).exit_code == 0);
}

TEST_CASE("engine: kvm waits for the timer in HLT", "[kvm]") {
  if (!KvmUsable()) return;
  Scratch scratch;
  REQUIRE(Run(Board("kvm", {"--stats", scratch.Path("stats")})).exit_code == 43);
  const json stats = json::parse(ReadFile(scratch.Path("stats")));
  CHECK(stats.at("interrupts_delivered") == 20);
  CHECK(stats.at("exits").at("halt") > 0);
}

TEST_CASE("engine: the terminal under kvm", "[kvm]") {
  if (!KvmUsable()) return;
  Terminal terminal;
  SECTION("Ctrl-A x quits") {
    Process process(Abuse("spin", {"--engine", "kvm"}), {.in = terminal.Slave()});
    REQUIRE(terminal.BecomesRaw());
    terminal.Type("\x03\x01x");
    CHECK(process.Wait(10).exit_code == 0);
  }
  SECTION("restored after a triple fault") {
    CHECK(Run(Abuse("triple", {"--engine", "kvm"}), {.in = terminal.Slave()}).exit_code == 3);
  }
  CHECK(terminal.AsBefore());
}

TEST_CASE("engine: the demo under kvm", "[kvm-demo]") {
  if (!KvmUsable()) return;
  const Outcome run = Run({"demo", "--engine", "kvm"});
  CAPTURE(run.out, run.err);
  if (run.err.find(kCannotExecute) != std::string::npos) {
    std::puts("skipped, this KVM interprets 32-bit code and lacks an instruction that the demo uses");
    return;
  }
  CHECK(run.exit_code == 0);
  CHECK_THAT(run.out, Catch::Contains(" checks, 0 differ"));
}

}  // namespace ring3::test
