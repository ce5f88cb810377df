// What --stats, --dump, --trace-exits and --serial write.
#include <catch2/catch.hpp>
#include <csignal>
#include <nlohmann/json.hpp>

#include "tests/machine/process.h"

namespace ring3::test {
namespace {

using nlohmann::json;

uint64_t Sum(const json& counts) {
  uint64_t sum = 0;
  for (const auto& [name, count] : counts.items()) {
    if (name != "total" && name != "identical_share") sum += count.get<uint64_t>();
  }
  return sum;
}

void CheckClasses(const json& classes) {
  CAPTURE(classes.dump());
  const auto total = classes.at("total").get<uint64_t>();
  CHECK(total > 0);
  CHECK(Sum(classes) == total);
  const double identical = classes.at("identical").get<double>();
  CHECK(classes.at("identical_share").get<double>() == Approx(identical / static_cast<double>(total)));
  CHECK(classes.at("identical_share").get<double>() > 0.5);
}

}  // namespace

TEST_CASE("report: the demo's statistics add up", "[report]") {
  Scratch scratch;
  const std::string path = scratch.Path("stats");
  REQUIRE(Run({"demo", "--stats", path, "--trace-exits", scratch.Path("trace")}).exit_code == 0);
  const json stats = json::parse(ReadFile(path));
  CheckClasses(stats.at("instructions_executed"));
  CheckClasses(stats.at("instructions_translated"));
  CHECK(stats.at("instructions_executed").at("total") > stats.at("instructions_translated").at("total"));
  CHECK(stats.at("seconds").get<double>() > 0);
  CHECK(stats.at("seconds").get<double>() < 60);
  CHECK(Sum(stats.at("interpreted_by_mnemonic")) <= stats.at("instructions_interpreted").get<uint64_t>());
  CHECK(Sum(stats.at("interpreted_by_mnemonic")) > 0);
  const json& translation = stats.at("translation");
  CHECK(translation.at("live_blocks") <= translation.at("blocks"));
  CHECK(translation.at("host_bytes") > translation.at("guest_bytes"));
  // The demo takes every kind of exit, and exceptions of several kinds.
  for (const char* reason : {"link-miss", "indirect-miss", "interpret", "guest-fault", "code-write"}) {
    CAPTURE(reason);
    CHECK(stats.at("exits").at(reason) > 0);
  }
  for (const char* vector : {"0", "6", "13", "14"}) {
    CAPTURE(vector);
    CHECK(stats.at("faults_delivered").value(vector, 0) > 0);
  }
  CHECK(stats.at("interrupts_delivered") > 0);
  CHECK(stats.at("shadow").at("pages_mapped") >= stats.at("shadow").at("fills"));
  // One line of the trace for each exit that was counted, and for each instruction that is interpreted in a callout.
  const uint64_t steps = stats.at("callouts").at("interpret");
  CHECK(LinesOf(ReadFile(scratch.Path("trace"))).size() == Sum(stats.at("exits")) + steps);
}

TEST_CASE("report: statistics come on every way out", "[report]") {
  Scratch scratch;
  const std::string path = scratch.Path("stats");
  for (const auto& [word, code] : {std::pair{"none", 0}, {"triple", 3}, {"spin", 124}}) {
    CAPTURE(word);
    CHECK(Run(Abuse(word, {"--max-seconds", "0.3", "--stats", path})).exit_code == code);
    CHECK(json::parse(ReadFile(path)).at("instructions_executed").at("total") > 0);
  }
}

TEST_CASE("report: statistics on standard error are JSON alone", "[report]") {
  const Outcome run = Run(Abuse("none", {"--stats", "-"}));
  CHECK(run.exit_code == 0);
  CHECK(json::parse(run.err).contains("exits"));
}

TEST_CASE("report: --dump shows class letters and both codes", "[report]") {
  Scratch scratch;
  REQUIRE(Run(Abuse("none", {"--dump", scratch.Path("dump")})).exit_code == 0);
  size_t blocks = 0, identical = 0, returns = 0, interpreted = 0, both = 0;
  for (const std::string& line : LinesOf(ReadFile(scratch.Path("dump")))) {
    blocks += line.starts_with("block eip ");
    identical += line.starts_with("  I ");
    returns += line.starts_with("  R ");
    interpreted += line.starts_with("  M ");
    const size_t bar = line.find('|');
    both += line.starts_with("  ") && bar != std::string::npos && line.find_last_not_of(" |") > bar;
  }
  CHECK(blocks > 10);
  CHECK(identical > blocks);
  CHECK(returns > 0);
  CHECK(interpreted > 0);
  CHECK(both >= identical);
}

TEST_CASE("report: --trace-exits numbers every exit", "[report]") {
  Scratch scratch;
  REQUIRE(Run(Abuse("none", {"--trace-exits", scratch.Path("trace")})).exit_code == 0);
  const auto lines = LinesOf(ReadFile(scratch.Path("trace")));
  REQUIRE(lines.size() > 10);
  for (size_t i = 0; i < lines.size(); ++i) {
    REQUIRE_THAT(lines[i], Catch::Matches(" *" + std::to_string(i + 1) +
                                          " [a-z-]+ +eip [0-9a-f]{8} esp [0-9a-f]{8} "
                                          "eflags [0-9a-f]{8} cpl [0-3]"));
  }
}

TEST_CASE("report: serial output goes where --serial says", "[report]") {
  Scratch scratch;
  const std::string console = scratch.Path("console");
  const Outcome to_file = Run(Abuse("none", {"--serial", "file:" + console}));
  CHECK(to_file.exit_code == 0);
  CHECK(to_file.out.empty());
  CHECK_THAT(ReadFile(console), Catch::Contains("abuse: none"));
  const Outcome nowhere = Run(Abuse("none", {"--serial", "none"}));
  CHECK(nowhere.exit_code == 0);
  CHECK(nowhere.out.empty());
  CHECK(nowhere.err.empty());
  // A file that exists is started anew, not written over in part.
  REQUIRE(Run({"demo", "--serial", "file:" + console}).exit_code == 0);
  const size_t demo_size = ReadFile(console).size();
  REQUIRE(Run(Abuse("none", {"--serial", "file:" + console})).exit_code == 0);
  CHECK(ReadFile(console).size() < demo_size);
}

TEST_CASE("report: a crash inside translated code names the guest instruction, and the monitor's frames behind it",
          "[report]") {
  for (const int signal : {SIGSEGV, SIGABRT}) {
    CAPTURE(signal);
    Process process(Abuse("spin", {"--max-seconds", "120"}));
    REQUIRE(process.WaitForSignalHandler());
    process.WaitForProgress(0.5);  // the guest reaches its endless loop
    process.Kill(signal);
    const Outcome run = process.Wait(20);
    CHECK_FALSE(run.timed_out);
    CHECK(run.exit_code == 3);
    for (const char* part : {"monitor backtrace:", "translation of guest ", "BtEngine", "main",
                             "eax=", "guest code:", "block entered last:", "last exits"}) {
      CAPTURE(part, run.err);
      CHECK(run.err.find(part) != std::string::npos);
    }
  }
}

}  // namespace ring3::test
