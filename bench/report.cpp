#include "bench/report.h"

#include <fmt/chrono.h>
#include <fmt/core.h>
#include <unistd.h>

#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "bench/child.h"
#include "monitor/cpu/fault.h"

#ifndef RING3_VERSION
#error "the build names the version"
#endif

namespace ring3::bench {
namespace {

using nlohmann::ordered_json;

std::string FirstLine(const std::vector<std::string>& command) {
  const ChildResult child = RunChild(command, 10);
  return child.lines.empty() ? "" : child.lines.front().text;
}

std::string ProcessorName() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

std::string LoadAverage() {
  std::ifstream file("/proc/loadavg");
  std::string load;
  file >> load;
  return load;
}

std::string Cell(const std::optional<Summary>& s) {
  if (!s) return "–";
  return fmt::format("{} ({}–{})", ShortNumber(s->median), ShortNumber(s->low), ShortNumber(s->high));
}

ordered_json ToJson(const std::optional<Summary>& s) {
  if (!s) return nullptr;
  return {{"median", s->median}, {"low", s->low}, {"high", s->high}};
}

ordered_json ToJson(const Row& row, const std::vector<Machine>& machines) {
  ordered_json out{{"suite", row.suite}, {"name", row.name}, {"unit", row.unit}};
  for (const auto& [machine, rounds] : row.samples) {
    ordered_json samples = ordered_json::array();
    for (const auto& [round, values] : rounds) samples.push_back(values);
    out["machines"][machine] = {{"summary", ToJson(row.Of(machine))}, {"samples", samples}};
  }
  for (const auto& [machine, result] : row.results) out["machines"][machine]["result"] = result;
  for (const auto& [machine, reason] : row.missing) out["machines"][machine]["missing"] = reason;
  for (const RatioColumn& column : RatioColumns(machines)) {
    if (const auto ratio = row.Ratio(column.above, column.below)) out["ratios"][column.title] = ToJson(ratio);
  }
  return out;
}

}  // namespace

std::string ShortNumber(double value) {
  if (value >= 100) return fmt::format("{:.0f}", value);
  if (value >= 10) return fmt::format("{:.1f}", value);
  if (value >= 0.1) return fmt::format("{:.2f}", value);
  return fmt::format("{:.3f}", value);
}

bool HasFigures(const Results& results, const std::string& suite, const std::string& machine) {
  for (const Row& row : results.Rows()) {
    if (row.suite == suite && row.samples.contains(machine)) return true;
  }
  return false;
}

Facts DescribeRun(const BenchOptions& options) {
  Facts facts{{"date", fmt::format("{:%F}", fmt::gmtime(std::time(nullptr)))},
              {"cpu", ProcessorName()},
              {"cpus", std::to_string(sysconf(_SC_NPROCESSORS_ONLN))},
              {"host kernel", FirstLine({"uname", "-r"})},
              {"load when the run ended", LoadAverage()},
              {"ring3", RING3_VERSION},
              {"rounds", std::to_string(options.runs)},
              {"times", options.cpu_time ? "processor time" : "elapsed time"}};
  if (HasProgram("qemu-system-i386")) facts.emplace_back("qemu", FirstLine({"qemu-system-i386", "--version"}));
  return facts;
}

std::vector<RatioColumn> RatioColumns(const std::vector<Machine>& machines) {
  std::vector<RatioColumn> columns;
  const Machine& first = machines.front();
  for (const Machine& other : machines) {
    if (&other == &first || !other.missing.empty()) continue;
    if (other.kind == MachineKind::kNative) {
      for (const Machine& machine : machines) {
        if (machine.kind != MachineKind::kNative && machine.missing.empty())
          columns.push_back({machine.name, other.name, machine.title + " / native"});
      }
    } else {
      columns.push_back({other.name, first.name, other.title + " / " + first.title});
    }
  }
  return columns;
}

std::string Table(const Results& results, const std::string& suite, const std::vector<Machine>& machines) {
  std::string text = "| " + suite + " |", rule = "|---|";
  std::vector<const Machine*> shown;
  std::vector<RatioColumn> ratios;
  for (const Machine& machine : machines) {
    if (!HasFigures(results, suite, machine.name)) continue;
    shown.push_back(&machine);
    text += " " + machine.title + " |";
    rule += "---:|";
  }
  for (const RatioColumn& column : RatioColumns(machines)) {
    if (!HasFigures(results, suite, column.above) || !HasFigures(results, suite, column.below)) continue;
    ratios.push_back(column);
    text += " " + column.title + " |";
    rule += "---:|";
  }
  text += "\n" + rule + "\n";
  for (const Row& row : results.Rows()) {
    if (row.suite != suite) continue;
    text += fmt::format("| {}, {} |", row.name, row.unit);
    for (const Machine* machine : shown) text += " " + Cell(row.Of(machine->name)) + " |";
    for (const RatioColumn& column : ratios) text += " " + Cell(row.Ratio(column.above, column.below)) + " |";
    text += "\n";
  }
  text += fmt::format("| **geometric mean** |{}", std::string(shown.size(), '|'));
  for (const RatioColumn& column : ratios) {
    const auto mean = GeometricMean(results, suite, column.above, column.below);
    text += mean ? fmt::format(" **{}** |", ShortNumber(*mean)) : " – |";
  }
  return text + "\n";
}

void WriteJson(const std::string& path, const Results& results, const std::vector<Machine>& machines,
               const Facts& facts) {
  ordered_json out;
  for (const auto& [name, value] : facts) out["facts"][name] = value;
  for (const Machine& machine : machines) {
    out["machines"][machine.name] = {{"title", machine.title}};
    if (!machine.missing.empty()) out["machines"][machine.name]["missing"] = machine.missing;
  }
  out["rows"] = ordered_json::array();
  for (const Row& row : results.Rows()) out["rows"].push_back(ToJson(row, machines));
  std::ofstream file(path);
  file << out.dump(2) << '\n';
  file.close();
  if (!file) throw UsageError(fmt::format("bench --json {}: cannot be written", path));
}

}  // namespace ring3::bench
