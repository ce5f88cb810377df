#include "bench/nano_suite.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <sstream>

#include "bench/child.h"

namespace ring3::bench {
namespace {

constexpr double kTimeLimit = 120;  // seconds for all rows

struct NanoRow {
  const char* name;
  RowUse use;
  bool plain;
};

using enum RowUse;
#define ROW_USE(use) k##use
constexpr NanoRow kRows[] = {
#define NANO_PLAIN_ROW(name, use, ...) {name, ROW_USE(use), true},
#define NANO_KERNEL_ROW(name, use, ...) {name, ROW_USE(use), false},
#define NANO_USER_MODE_ROW NANO_KERNEL_ROW
#define NANO_PRIVILEGED_ROW NANO_KERNEL_ROW
#define NANO_MEMORY_ROW NANO_KERNEL_ROW
#define NANO_INTERRUPT_ROW NANO_KERNEL_ROW
#include "bench/nano/rows.def"
};

std::vector<std::string> WantedRows(const Machine& machine, const BenchOptions& options) {
  std::vector<std::string> names;
  for (const NanoRow& row : kRows) {
    const bool can = row.plain || machine.kind != MachineKind::kNative;
    if (can && options.Wants(row.name, row.use)) names.push_back(row.name);
  }
  return names;
}

std::vector<std::string> Command(const Machine& machine, const Images& images, const std::vector<std::string>& rows) {
  if (machine.kind == MachineKind::kNative) {
    std::vector<std::string> command{images.nano_native};
    command.insert(command.end(), rows.begin(), rows.end());
    return command;
  }
  std::string list;
  for (const std::string& row : rows) list += (list.empty() ? "rows=" : ",") + row;
  return BootCommand(machine, {.kernel = images.nano_kernel, .initrd = "", .append = list});
}

/// What one boot of the kernel printed.
struct NanoRun {
  std::map<std::string, std::vector<double>> cycles;  // for one operation
  std::string unfinished;                             // the row in which it ended
  bool clock_is_wrong = false;
};

/// Whether the guest's time-stamp counter ran as the host's did between two lines with its value.
bool ClocksAgree(const StampedLine& first, uint64_t guest_first, const StampedLine& last, uint64_t guest_last) {
  constexpr double kTolerance = 0.02, kDelay = 0.5;  // a part, and how late a busy host may read a line, in seconds
  const double host = static_cast<double>(last.cycles - first.cycles);
  const double guest = static_cast<double>(guest_last - guest_first);
  const double rate = host / std::max(1e-6, last.seconds - first.seconds);
  return std::abs(guest - host) <= kTolerance * host + kDelay * rate;
}

NanoRun Parse(const std::vector<StampedLine>& lines) {
  NanoRun run;
  const StampedLine* first = nullptr;
  uint64_t first_value = 0;
  for (const StampedLine& line : lines) {
    std::istringstream words(line.text);
    std::string who, what, name;
    words >> who >> what >> name;
    if (who != "nano:") continue;
    if (what == "begin") run.unfinished = name;
    if (what == "start" || what == "done") {
      std::string low;
      words >> low;
      const uint64_t value = std::stoull(name, nullptr, 16) << 32 | std::stoull(low, nullptr, 16);
      if (what == "done") run.clock_is_wrong = first != nullptr && !ClocksAgree(*first, first_value, line, value);
      first = &line;
      first_value = value;
    }
    if (what != "end") continue;
    run.unfinished.clear();
    double iterations = 1, cycles = 0;
    words >> iterations;
    while (words >> cycles) run.cycles[name].push_back(cycles / iterations);
  }
  return run;
}

void Keep(const NanoRun& run, const Machine& machine, unsigned round, Results& results) {
  for (const auto& [name, cycles] : run.cycles) {
    Row& row = results.At("nano", name, "cycles");
    if (run.clock_is_wrong) {
      row.missing[machine.name] = "the guest's time-stamp counter does not keep the host's time";
    } else {
      row.samples[machine.name][round] = cycles;
    }
  }
}

}  // namespace

void RunNano(const Machine& machine, unsigned round, const Images& images, const BenchOptions& options,
             Results& results) {
  std::vector<std::string> rows = WantedRows(machine, options);
  std::erase_if(rows, [&](const std::string& name) {
    return results.At("nano", name, "cycles").missing.contains(machine.name);  // failed in an earlier round
  });
  while (!rows.empty()) {
    const ChildResult child = RunChild(Command(machine, images, rows), kTimeLimit);
    const NanoRun run = Parse(child.lines);
    Keep(run, machine, round, results);
    const bool dead_at_once = run.cycles.empty() && run.unfinished.empty();
    if (run.unfinished.empty() && !dead_at_once) return;
    // A machine that cannot do one row may do those behind it.
    const auto failed = dead_at_once ? rows.begin() : std::find(rows.begin(), rows.end(), run.unfinished);
    const auto end = dead_at_once || failed == rows.end() ? rows.end() : failed + 1;
    for (auto row = failed; row != end; ++row) {
      results.At("nano", *row, "cycles").missing[machine.name] = child.Complaint();
    }
    fmt::print(stderr, "bench: {}: {} skipped: {}\n", machine.title, dead_at_once ? "all rows" : run.unfinished,
               child.Complaint());
    rows.erase(rows.begin(), end);
  }
}

double MeasurePlainLoop(const Machine& machine, const std::string& kernel) {
  const Images images{.nano_kernel = kernel, .nano_native = ""};
  for (const StampedLine& line : RunChild(Command(machine, images, {"none"}), kTimeLimit).lines) {
    double iterations = 0, cycles = 0;
    if (std::sscanf(line.text.c_str(), "nano: loop %lf %lf", &iterations, &cycles) == 2) return cycles / iterations;
  }
  return 0;
}

}  // namespace ring3::bench
