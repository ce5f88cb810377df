// Runs the bench in its --quick form and looks at what it writes.
#include <catch2/catch.hpp>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "tests/machine/process.h"

namespace ring3::test {
namespace {

using nlohmann::json;

json Bench(std::vector<std::string> arguments) {
  Scratch scratch;
  const std::string path = scratch.Path("bench.json");
  arguments.insert(arguments.begin(), {"bench", "--quick", "--json", path});
  const Outcome outcome = Run(arguments, {}, 230);
  CAPTURE(outcome.out, outcome.err);
  REQUIRE(outcome.exit_code == 0);
  return json::parse(ReadFile(path));
}

const json& RowNamed(const json& report, const std::string& name) {
  for (const json& row : report.at("rows")) {
    if (row.at("name") == name) return row;
  }
  FAIL("no row " << name);
  return report;
}

void CheckSummary(const json& machine) {
  CAPTURE(machine.dump());
  const json& summary = machine.at("summary");
  CHECK(summary.at("low") <= summary.at("median"));
  CHECK(summary.at("median") <= summary.at("high"));
  CHECK(summary.at("high") > 0);
}

/// Whether there is a Debian guest to boot. ctest knows the test as skipped by what is printed.
bool HasGuest() {
  if (Run({"bench", "--quick", "--suite", "guest", "--rows", "none"}, {}, 110).err.find("is missing") ==
      std::string::npos)
    return true;
  std::puts("skipped, there is no Debian guest (tests/guests/fetch_guests gets it)");
  return false;
}

bool RunsI386(const json& row) { return row.at("machines").contains("native"); }

}  // namespace

TEST_CASE("bench: nano measures translated code and the host's", "[nano]") {
  const json report = Bench({"--suite", "nano", "--against", "native"});
  CHECK(report.at("facts").contains("cpu"));
  for (const char* name : {"loop", "call-ret"}) {
    const json& row = RowNamed(report, name);
    CHECK(row.at("unit") == "cycles");
    for (const char* machine : {"bt", "native"}) CheckSummary(row.at("machines").at(machine));
    CHECK(row.at("ratios").size() == 1);
  }
  CheckSummary(RowNamed(report, "int-80h").at("machines").at("bt"));
}

TEST_CASE("bench: only the rows asked for are measured", "[nano]") {
  const json report = Bench({"--suite", "nano", "--against", "none", "--rows", "rdtsc"});
  REQUIRE(report.at("rows").size() == 1);
  CheckSummary(RowNamed(report, "rdtsc").at("machines").at("bt"));
}

TEST_CASE("bench: an ablation has a column for each fast path", "[nano]") {
  const json report = Bench({"--suite", "nano", "--ablate", "--rows", "rdtsc"});
  const json& row = RowNamed(report, "rdtsc");
  CheckSummary(row.at("machines").at("bt"));
  CheckSummary(row.at("machines").at("without inline-time-stamp"));
  CHECK(row.at("ratios").size() + 1 == row.at("machines").size());
}

TEST_CASE("bench: the page and its charts are written", "[nano]") {
  Scratch scratch;
  Bench({"--suite", "nano", "--against", "none", "--rows", "loop", "--docs", scratch.Path("")});
  const std::string page = ReadFile(scratch.Path("benchmarks.md"));
  CHECK(page.find("| loop, cycles |") != std::string::npos);
  CHECK(page.find('@') == std::string::npos);
  CHECK(ReadFile(scratch.Path("benchmarks-nano.svg")).starts_with("<svg"));
}

TEST_CASE("bench: a guest reads its disk and downloads from the host", "[io]") {
  if (!HasGuest()) return;
  const json report = Bench({"--suite", "io", "--against", "none"});
  CHECK(report.at("rows").size() == 2);
  CheckSummary(RowNamed(report, "ide-read").at("machines").at("bt"));
  const json& download = RowNamed(report, "virtio-net-download").at("machines").at("bt");
  CheckSummary(download);
  CHECK(download.at("result") == "33554432");
}

TEST_CASE("bench: one that is killed leaves neither disk images nor a guest", "[io]") {
  if (!HasGuest()) return;
  const auto images = [] {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator("/dev/shm")) names.insert(entry.path());
    std::erase_if(names, [](const std::string& name) { return name.find("ring3-bench") == std::string::npos; });
    return names;
  };
  const auto before = images();
  Scratch scratch;
  Process bench({"bench", "--suite", "io", "--against", "none"}, {.environment = {"TMPDIR=" + scratch.Path("")}});
  const std::string children =
      "/proc/" + std::to_string(bench.Pid()) + "/task/" + std::to_string(bench.Pid()) + "/children";
  const auto guest = [&] {
    const std::string pid = ReadFile(children).substr(0, ReadFile(children).find(' '));
    const bool io = !pid.empty() && ReadFile("/proc/" + pid + "/cmdline").find("virtio-net-pci") != std::string::npos;
    return io ? pid : "";
  };
  std::string pid;
  while (bench.Running() && (pid = guest()).empty()) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  REQUIRE(pid != "");
  bench.Kill(SIGKILL);
  CHECK(bench.Wait().exit_code == 128 + SIGKILL);
  const auto gone = [&] { return ReadFile("/proc/" + pid + "/cmdline").empty(); };
  for (int tries = 0; tries < 3000 && !gone(); ++tries) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  CHECK(gone());
  CHECK(images() == before);
}

TEST_CASE("bench: user programs compute in the guest what they compute natively", "[user]") {
  if (!HasGuest()) return;
  const json report = Bench({"--suite", "user", "--against", "native"});
  CHECK(report.at("rows").size() >= 15);
  for (const json& row : report.at("rows")) {
    CAPTURE(row.dump());
    const json& guest = row.at("machines").at("bt");
    CheckSummary(guest);
    CHECK(guest.at("result").get<std::string>().size() == 8);
    if (RunsI386(row)) CHECK(guest.at("result") == row.at("machines").at("native").at("result"));
  }
}

TEST_CASE("bench: guest workloads end, and boot is timed from outside", "[guest]") {
  if (!HasGuest()) return;
  const json report = Bench({"--suite", "guest", "--against", "none", "--rows", "boot,getpid,fork-exec,memory"});
  REQUIRE(report.at("rows").size() == 4);
  for (const json& row : report.at("rows")) CheckSummary(row.at("machines").at("bt"));
  CHECK(RowNamed(report, "fork-exec").at("machines").at("bt").at("result") == "00000005");
  CHECK(RowNamed(report, "boot").at("unit") == "s");
}

TEST_CASE("bench: bad options are usage errors", "[usage]") {
  CHECK(Run({"bench", "--suite", "micro"}).exit_code == 2);
  CHECK(Run({"bench", "--against", "vmware"}).exit_code == 2);
  CHECK(Run({"bench", "--runs", "0"}).exit_code == 2);
  CHECK(Run({"bench", "--help"}).exit_code == 0);
}

}  // namespace ring3::test
