#include "monitor/options_qemu.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <chrono>
#include <ctime>
#include <utility>

#include "monitor/cpu/cpu_model.h"
#include "monitor/cpu/fault.h"

namespace ring3 {
namespace {

using Property = std::pair<std::string, std::string>;  // the value is empty where there is no '='

std::vector<Property> Properties(const std::string& text) {
  std::vector<Property> properties;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    const std::string item = text.substr(at, end - at);
    const size_t equals = item.find('=');
    if (equals == std::string::npos) {
      properties.emplace_back(item, "");
    } else {
      properties.emplace_back(item.substr(0, equals), item.substr(equals + 1));
    }
    at = end + 1;
  }
  return properties;
}

[[noreturn]] void Unknown(const char* option, const Property& property, const char* known) {
  const std::string text = property.second.empty() ? property.first : property.first + "=" + property.second;
  throw UsageError(fmt::format("{}: ring3 has no '{}' ({})", option, text, known));
}

void SetAccelerator(const std::string& name, const char* option, std::string& engine) {
  if (name != "tcg" && name != "kvm") throw UsageError(fmt::format("{} {}: ring3 has tcg and kvm", option, name));
  const std::string wanted = name == "kvm" ? "kvm" : "bt";
  if (!engine.empty() && engine != wanted)
    throw UsageError(fmt::format("{} {} contradicts --engine {}", option, name, engine));
  engine = wanted;
}

/// -accel tcg or kvm.
void ApplyAccelerator(const std::string& text, const char* option, std::string& engine) {
  bool first = true;
  for (const Property& property : Properties(text)) {
    const bool one_thread = property == Property{"thread", "single"};
    if (first) {
      const std::string& names = property.first == "accel" ? property.second : property.first;
      SetAccelerator(names.substr(0, names.find(':')), option, engine);
    } else if (!one_thread) {
      Unknown(option, property, "tcg, kvm, thread=single");
    }
    first = false;
  }
}

/// What makes no difference to this machine, or only to the host's memory.
bool IsWithoutEffect(const Property& property) {
  const auto& [name, value] = property;
  return name == "dump-guest-core" || name == "mem-merge" ||
         ((name == "usb" || name == "smm" || name == "graphics") && value == "off");
}

/// Of several accelerators, as in "kvm:tcg", the first counts.
void ApplyMachine(const std::string& text, std::string& engine, Options& options) {
  for (const Property& property : Properties(text)) {
    const auto& [name, value] = property;
    const bool type = value.empty() || name == "type";
    const std::string& wanted = value.empty() ? name : value;
    if (type && (wanted == "pc" || wanted.starts_with("pc-i440fx"))) continue;
    if (type) throw UsageError(fmt::format("--machine {}: ring3 has 'pc' only", wanted));
    if (name == "accel") {
      SetAccelerator(value.substr(0, value.find(':')), "--machine accel", engine);
    } else if (name == "hpet" && (value == "on" || value == "off")) {
      options.hpet = value == "on";
    } else if (name == "vmport" && (value == "on" || value == "off" || value == "auto")) {
      options.vm_port = value != "off";
    } else if (!IsWithoutEffect(property)) {
      Unknown("--machine", property, "pc, accel=tcg|kvm, hpet=on|off, vmport=on|off");
    }
  }
}

void CheckProcessors(const std::string& text) {
  for (const Property& property : Properties(text)) {
    const auto& [name, value] = property;
    const std::string& count = value.empty() ? name : value;
    if (count != "1") throw UsageError(fmt::format("--smp {}: ring3 has one processor", text));
    const bool known = value.empty() || name == "cpus" || name == "sockets" || name == "cores" || name == "threads" ||
                       name == "maxcpus" || name == "dies";
    if (!known) Unknown("--smp", property, "cpus=1");
  }
}

uint64_t NowNs() {
  using namespace std::chrono;
  return static_cast<uint64_t>(duration_cast<nanoseconds>(system_clock::now().time_since_epoch()).count());
}

constexpr uint64_t kNsPerSecond = 1'000'000'000;

uint64_t LocalTimeNs() {
  const uint64_t now = NowNs();
  const auto seconds = static_cast<std::time_t>(now / kNsPerSecond);
  std::tm local = {};
  localtime_r(&seconds, &local);
  return now + static_cast<uint64_t>(local.tm_gmtoff) * kNsPerSecond;
}

/// 2006-06-17T16:01:21 or 2006-06-17
uint64_t DateNs(const std::string& text) {
  std::tm date = {};
  const char* rest = strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &date);
  if (!rest || *rest) {
    date = {};
    rest = strptime(text.c_str(), "%Y-%m-%d", &date);
  }
  const std::time_t seconds = rest && !*rest ? timegm(&date) : -1;
  if (seconds < 0)
    throw UsageError(fmt::format("--rtc base={}: say utc, localtime, or a date like 2006-06-17T16:01:21", text));
  return static_cast<uint64_t>(seconds) * kNsPerSecond;
}

/// Words that begin like an option but are the value of one: negative numbers.
bool IsNumber(const std::string& word) { return std::isdigit(static_cast<unsigned char>(word[1])) != 0; }

/// -m, -m128M, or flags like -sS.
bool IsShortOption(const CLI::App& command, const std::string& word) {
  const auto find = [&command](char letter) { return command.get_option_no_throw(std::string("-") + letter); };
  const CLI::Option* first = find(word[1]);
  if (!first || word.size() == 2) return first != nullptr;
  if (first->get_items_expected_max() != 0) return IsNumber(word.substr(1));
  return std::all_of(word.begin() + 2, word.end(), [&](char letter) {
    const CLI::Option* option = find(letter);
    return option && option->get_items_expected_max() == 0;
  });
}

}  // namespace

void AddQemuOptions(CLI::App& app, QemuSpellings& spellings) {
  app.add_option("-M,--machine", spellings.machine, "pc[,accel=tcg|kvm]")->group("");
  app.add_option("--accel", spellings.accelerator, "tcg (the same as --engine bt) or kvm")->group("");
  app.add_flag("--enable-kvm", spellings.kvm, "the same as --engine kvm")->group("");
  app.add_flag("--no-hpet", spellings.no_hpet, "a machine without HPET")->group("");
  app.add_option("--smp", spellings.processors, "1")->group("");
  app.add_option("--rtc", spellings.rtc, "the real-time clock's start: base=utc, base=localtime or base=DATE");
  app.add_option("-k", spellings.keyboard, "the keyboard's layout: en-us")->group("");
  app.add_option("--parallel", spellings.parallel, "none")->group("");
  app.add_option("--pidfile", spellings.pid_file, "write the process's number to this file")->group("");
  app.add_flag("--nodefaults", spellings.no_defaults, "neither COM1 nor a display adapter unless asked for")->group("");
  app.add_flag_callback(
         "--no-user-config", [] {}, "ring3 has no configuration files")
      ->group("");
  app.add_flag("--nographic", spellings.nographic, "no display, and the console on this terminal, for firmware too");
}

void ApplyQemuOptions(const QemuSpellings& spellings, std::string& engine, Options& options) {
  options.nographic = spellings.nographic;
  if (spellings.no_hpet) options.hpet = false;
  options.pid_file = spellings.pid_file;
  if (!spellings.machine.empty()) ApplyMachine(spellings.machine, engine, options);
  if (!spellings.accelerator.empty()) ApplyAccelerator(spellings.accelerator, "--accel", engine);
  if (spellings.kvm) SetAccelerator("kvm", "--enable-kvm", engine);
  if (!spellings.processors.empty()) CheckProcessors(spellings.processors);
  if (!spellings.rtc.empty()) options.rtc_start_ns = ParseRtc(spellings.rtc);
  if (!spellings.keyboard.empty() && spellings.keyboard != "en-us")
    throw UsageError(fmt::format("-k {}: ring3 knows the layout en-us only", spellings.keyboard));
  for (const std::string& port : spellings.parallel) {
    if (port != "none") throw UsageError(fmt::format("--parallel {}: ring3 has no parallel port; say none", port));
  }
}

void AddSecondDashes(const CLI::App& command, std::vector<std::string>& words) {
  for (std::string& word : words) {
    if (word.size() < 2 || word[0] != '-' || word[1] == '-' || IsNumber(word)) continue;
    const std::string name = word.substr(1, word.find('=') - 1);
    if (command.get_option_no_throw("--" + name)) {
      word.insert(0, "-");
    } else if (!IsShortOption(command, word)) {
      throw UsageError(fmt::format("{}: ring3 has no such option (ring3 run --help lists them)", word));
    }
  }
}

std::optional<uint64_t> ParseRtc(const std::string& text) {
  std::optional<uint64_t> start;
  for (const Property& property : Properties(text)) {
    const auto& [name, value] = property;
    if (name == "base" && value == "localtime") {
      start = LocalTimeNs();
    } else if (name == "base" && value != "utc") {
      start = DateNs(value);
    } else if (name == "base" || property == Property{"clock", "vm"} || property == Property{"clock", "host"} ||
               property == Property{"driftfix", "none"}) {
      continue;
    } else {
      Unknown("--rtc", property, "base=utc, base=localtime, base=DATE, clock=host, clock=vm");
    }
  }
  return start;
}

std::string CpuModelName(const std::string& text) {
  if (text == "host") return "max";
  return text == "qemu32" || text == "kvm32" ? CpuModels().front().name : text;
}

bool PrintQemuList(const QemuSpellings& spellings) {
  const bool accelerators = spellings.accelerator == "help";
  if (!accelerators && spellings.machine != "help") return false;
  fmt::print("{}", accelerators ? "tcg (binary translation)\nkvm\n" : "pc (i440FX, PIIX)\n");
  return true;
}

std::string MemorySize(const std::string& text) { return text.starts_with("size=") ? text.substr(5) : text; }

std::string GuestName(const std::string& text) {
  std::string name;
  for (const Property& property : Properties(text)) {
    const bool threads = property.first == "debug-threads";
    if (property.first == "guest") {
      name = property.second;
    } else if (property.second.empty() && name.empty()) {
      name = property.first;
    } else if (!threads) {
      Unknown("--name", property, "guest=NAME");
    }
  }
  return name;
}

}  // namespace ring3
