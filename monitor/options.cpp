#include "monitor/options.h"

#include <fmt/core.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <set>

#include "devices/board.h"
#include "monitor/cpu/cpu_model.h"
#include "monitor/cpu/fault.h"
#include "monitor/numbers.h"
#include "monitor/options_firmware.h"
#include "monitor/options_qemu.h"
#include "monitor/options_storage.h"
#include "monitor/properties.h"
#include "monitor/serial_console.h"

#ifndef RING3_VERSION
#error "the build names the version"
#endif

namespace ring3 {
namespace {

constexpr const char* kFooter = R"(
Guests are unmodified 32-bit x86 kernels, Linux bzImage or Multiboot 1, or firmware images. On the terminal, Ctrl-A x quits,
Ctrl-A h lists the other keys; everything else, Ctrl-C too, goes to the guest.

  ring3 run --kernel vmlinuz --initrd initramfs.cpio.gz --append "console=ttyS0"
  ring3 demo                          what the built-in guest can tell about its hardware
  ring3 bench                         measures (ring3 bench --help lists its options)
  ring3 type --control S "text\n"      types at a running machine's keyboard (--control S); also: screenshot,
                                      text, status, stop, cont, reset, powerdown, quit

QEMU's spellings work too, with one dash: -kernel -initrd -append -m -cpu -M pc -accel tcg -smp 1 -rtc -nographic
-no-reboot -serial -monitor -qmp -gdb -s -S -name -device isa-debug-exit,iobase=0xf4,iosize=4 and so on

Exit codes: 0 guest powered off (or rebooted under --no-reboot), (v<<1)|1 guest wrote v to isa-debug-exit,
2 usage or host trouble, 3 triple fault or internal error, 5 --lockstep found a difference, 124 --max-seconds passed.)";

/// The words behind the program's name. Without a command they are for "run".
std::vector<std::string> Normalise(const CLI::App& run, int argc, const char* const* argv) {
  std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
  static const std::set<std::string> kCommands = {"run", "demo"};
  const bool for_program = words.empty() || words[0] == "--help" || words[0] == "-help" || words[0] == "-h" ||
                           words[0] == "--version" || words[0] == "-version";
  if (for_program) {
    if (!words.empty() && words[0].size() > 2 && words[0][1] != '-') words[0].insert(0, "-");
    return words;
  }
  const bool image = !words[0].starts_with('-') && access(words[0].c_str(), F_OK) == 0;
  if (!kCommands.contains(words[0]) && (words[0].starts_with('-') || image)) words.insert(words.begin(), "run");
  AddSecondDashes(run, words);
  return words;
}

std::string DeviceNames() {
  return fmt::format("isa-debug-exit, VGA, {}, {}", DriveList::kDeviceNames, ExpansionDeviceNames());
}

/// -device isa-debug-exit,iobase=0xf4,iosize=4
void ParseDevice(const std::string& text, Options& options) {
  Properties properties("--device", text);
  if (properties.First() != "isa-debug-exit") {
    throw UsageError(
        fmt::format("--device {}: ring3 has no such device (it has: {})", properties.First(), DeviceNames()));
  }
  const std::string port = properties.Take("iobase").value_or("0x501"), count = properties.Take("iosize").value_or("2");
  properties.ExpectNothingElse("iobase, iosize");
  options.debug_exit_port = static_cast<uint16_t>(ParseNumberOption("isa-debug-exit,iobase", port, 0, 0xFFFF));
  options.debug_exit_port_count = static_cast<unsigned>(ParseNumberOption("isa-debug-exit,iosize", count, 1, 4));
  if (*options.debug_exit_port + options.debug_exit_port_count > 0x10000)
    throw UsageError("isa-debug-exit: its ports end at 0xffff");
}

std::string ModelNames() {
  std::string names;
  for (const CpuModel& model : CpuModels())
    names += (names.empty() ? "" : ", ") + model.name + (names.empty() ? " (default)" : "");
  return names;
}

void PrintFastPaths() {
  for (const FastPathRow& row : kFastPathRows) {
    const char* const off = FastPaths::Usual().Has(row.path) ? "" : " (off unless asked for by --with)";
    fmt::print("{:24} {}{}\n", row.name, row.description, off);
  }
}

FastPath NamedFastPath(const char* option, const std::string& name) {
  if (const auto path = FindFastPath(name)) return *path;
  throw UsageError(fmt::format("{} {}: no such fast path (--without help lists them)", option, name));
}

FastPaths ParseFastPaths(const std::vector<std::string>& with, const std::vector<std::string>& without) {
  FastPaths paths = FastPaths::Usual();
  for (const std::string& name : without) {
    paths = name == "all" ? FastPaths::None() : paths.Without(NamedFastPath("--without", name));
  }
  for (const std::string& name : with) {
    paths = name == "all" ? FastPaths() : paths.With(NamedFastPath("--with", name));
  }
  return paths;
}

struct RawOptions {
  std::string memory = "256M", cache = "32M";
  std::vector<std::string> devices, with, without, serials;
  RawExpansionOptions expansion;
  std::string engine;
  QemuSpellings qemu;
};

void AddMachineOptions(CLI::App& app, Options& options, RawOptions& raw) {
  app.add_option("-m,--memory", raw.memory, "guest RAM: 64M, 1G (a plain number means MiB)");
  app.add_option("--serial", raw.serials,
                 std::string("where COM1 goes, and given again COM2 to COM4: ") + SerialConsole::kPlaces)
      ->allow_extra_args(false)
      ->default_str("stdio");
  app.add_option("--cpu", options.cpu_model, "CPU that CPUID shows: " + ModelNames());
  app.add_option("--engine", raw.engine, "what runs the guest: bt (binary translation) or kvm (/dev/kvm)")
      ->default_str("bt");
  app.add_flag("--no-reboot", options.no_reboot, "a guest's reboot ends ring3");
  app.add_flag("--no-shutdown", options.no_shutdown,
               "a guest that ends is stopped, to be looked at until ring3 is told to quit");
  app.add_option("--stats", options.stats_file, "write counters of the run to this file, as JSON (- for stderr)");
  app.add_option("--dump", options.dump_file,
                 "write every translated block, guest and host code, to this file (- for stderr)");
  app.add_option("--trace-exits", options.trace_exits_file, "write every exit from translated code to this file");
  app.add_option("--tc-size", raw.cache, "size of the translation cache")->capture_default_str();
  app.add_option("--max-seconds", options.max_seconds, "end after this time with exit code 124");
  app.add_flag("--one-instruction-blocks", options.single_instruction_blocks,
               "translate one instruction at a time (debugging)");
  app.add_option("--with", raw.with, "fast paths that are usually off, or all")->delimiter(',');
  app.add_option("--without", raw.without, "fast paths to do without, or all; help lists them")->delimiter(',');
  app.add_flag_callback(
      "--no-link", [&raw] { raw.without.push_back("block-links"); },
      "return to the monitor after every block (debugging)");
  app.add_flag("--lockstep{blocks}", options.lockstep,
               "compare with a second machine that runs one instruction at a time, by blocks or by interpreter "
               "(debugging)");
  app.add_option("--lockstep-from", options.lockstep_from, "begin with it when the guest has written this to COM1");
  app.add_option("--sabotage", options.sabotage, "register@EIP or memory@EIP: translate that instruction wrongly")
      ->group("");
  AddControlOptions(app, options.control);
  AddNetOptions(app, raw.expansion);
  app.add_option("--device", raw.devices, "isa-debug-exit,iobase=P,iosize=N; or a card: " + ExpansionDeviceNames());
  AddDisplayOptions(app, options.display);
  AddQemuOptions(app, raw.qemu);
}

void CheckEngine(Options& options, const RawOptions& raw) {
  std::string engine = raw.engine;
  if (!engine.empty() && engine != "bt" && engine != "kvm")
    throw UsageError(fmt::format("--engine {}: say bt or kvm", engine));
  ApplyQemuOptions(raw.qemu, engine, options);
  if (engine != "kvm") return;
  options.engine = EngineKind::kKvm;
  const Options unset;
  if (!options.dump_file.empty() || !options.trace_exits_file.empty() || options.single_instruction_blocks ||
      options.fast_paths != unset.fast_paths || options.cache_bytes != unset.cache_bytes) {
    throw UsageError(
        "--dump, --trace-exits, --one-instruction-blocks, --without, --no-link and --tc-size are about translated "
        "code: "
        "--engine kvm has none");
  }
}

void CheckGuest(const Options& options) {
  if (options.command == Command::kDemo) return;
  CheckFirmwareOptions(options);
  if (!options.UsesFirmware() && options.kernel.empty())
    throw UsageError("--kernel is required, or something to boot from (ring3 --help lists the options)");
  if (!options.UsesFirmware() && options.bios.empty()) return;
  for (const auto& [name, value] :
       {std::pair{"--kernel", &options.kernel}, {"--initrd", &options.initrd}, {"--append", &options.append}}) {
    if (!value->empty())
      throw UsageError(fmt::format("{} means nothing to firmware, which boots by itself: it goes with --kernel", name));
  }
}

void ParseSerials(Options& options, const RawOptions& raw) {
  if (options.control.MonitorOnStdio()) options.serials = {"none"};
  if (raw.qemu.no_defaults) options.serials = {"none"};
  if (!raw.serials.empty()) options.serials = raw.serials;
  if (options.serials.size() > Board::kSerialPorts)
    throw UsageError(fmt::format("--serial: there are {} ports, COM1 to COM4", Board::kSerialPorts));
  for (const std::string& place : options.serials) {
    if (!SerialConsole::IsPlace(place))
      throw UsageError(fmt::format("--serial {}: say {}", place, SerialConsole::kPlaces));
  }
  if (std::count_if(options.serials.begin(), options.serials.end(), SerialConsole::IsTerminal) > 1)
    throw UsageError("--serial stdio: two ports cannot share the terminal");
}

/// They join the --drive options.
void TakeDriveDevices(Options& options, RawOptions& raw) {
  const auto is_drive = [](const std::string& device) {
    return DriveList::IsDevice(device.substr(0, device.find(',')));
  };
  for (const std::string& device : raw.devices) {
    if (is_drive(device)) options.drive_list.AddDevice(device);
  }
  std::erase_if(raw.devices, is_drive);
}

void ParseDevices(Options& options, const RawOptions& raw) {
  RawExpansionOptions expansion = raw.expansion;
  for (const std::string& device : raw.devices) {
    const std::string name = device.substr(0, device.find(','));
    if (name == "VGA") {
      ParseVgaDevice(device, options.display);
    } else if (IsExpansionDevice(name)) {
      expansion.devices.push_back(device);
    } else {
      ParseDevice(device, options);
    }
  }
  options.expansion = ParseExpansion(expansion);
  if (!options.lockstep.empty() && !options.expansion.cards.empty())
    throw UsageError("--lockstep cannot follow cards that write to memory: leave --net, --share and --device out");
}

void CheckLockstep(const Options& options) {
  if (options.lockstep.empty()) return;
  if (options.lockstep != "blocks" && options.lockstep != "interpreter")
    throw UsageError(fmt::format("--lockstep={}: say blocks or interpreter", options.lockstep));
  if (options.engine == EngineKind::kKvm)
    throw UsageError("--lockstep compares translations: it has nothing to say about --engine kvm");
  if (options.UsesFirmware() && options.bios.empty())
    throw UsageError("--lockstep cannot follow SeaBIOS, which switches memory: name a --kernel or another --bios");
  if (options.display.front_end != FrontEndKind::kNone || !options.display.screenshots.empty())
    throw UsageError("--lockstep follows a machine without a screen: leave --display and --screenshot-at out");
}

void Check(Options& options, const RawOptions& raw) {
  CheckGuest(options);
  options.memory_bytes = ParseSize(MemorySize(raw.memory), 1u << 20, "memory");
  options.cache_bytes = ParseSize(raw.cache, 1u << 20, "--tc-size");
  options.fast_paths = ParseFastPaths(raw.with, raw.without);
  CheckEngine(options, raw);
  ParseDevices(options, raw);
  if (raw.qemu.no_defaults && options.display.vga_model.empty() && !options.display.vga_device)
    options.display.vga_model = "none";
  ParseDisplayOptions(options.display);
  // The terminal is the screen's.
  if (options.display.front_end == FrontEndKind::kCurses) {
    for (std::string& place : options.serials) {
      if (SerialConsole::IsTerminal(place)) place = "none";
    }
  }
  CheckLockstep(options);
  CheckControlOptions(options);
  constexpr double kLongest = 1e9;
  if (!(options.max_seconds >= 0 && options.max_seconds <= kLongest)) {
    throw UsageError("--max-seconds wants a positive number of seconds");
  }
  options.cpu_model = CpuModelName(options.cpu_model);
  FindCpuModel(options.cpu_model.empty() ? CpuModels().front().name : options.cpu_model);
}

/// --without help, --cpu help and so on
void PrintListAskedFor(const Options& options, const RawOptions& raw) {
  const auto asked = [](const std::vector<std::string>& words) { return std::ranges::count(words, "help") > 0; };
  if (asked(raw.without)) {
    PrintFastPaths();
  } else if (asked(raw.devices)) {
    fmt::print("{}\n", DeviceNames());
  } else if (options.cpu_model == "help") {
    for (const CpuModel& model : CpuModels()) fmt::print("{}\n", model.name);
  } else if (!PrintQemuList(raw.qemu)) {
    return;
  }
  std::exit(exit_code::kSuccess);
}

/// What CLI11 found wrong, in words that say what to do.
std::string Explain(const CLI::ParseError& error, const std::vector<std::string>& words, const CLI::App& app) {
  const std::string text = error.what();
  const std::string option = text.substr(0, text.find(':'));
  if (text.starts_with("A subcommand is required")) {
    return words.empty() ? "say what to do: ring3 run boots a guest (ring3 --help lists the commands)"
                         : fmt::format("there is no command '{}' (ring3 --help lists them)", words.front());
  }
  if (text.find("At Most 1 required") != std::string::npos) return option + " is given more than once; say it once";
  if (text.ends_with(" missing") && text.find("1 required") != std::string::npos)
    return fmt::format("{} needs a value behind it (ring3 {}--help lists the options)",
                       option.empty() ? words.back() : option, app.got_subcommand("demo") ? "demo " : "run ");
  return text + " (ring3 --help lists the options)";
}

}  // namespace

uint64_t ParseSize(const std::string& text, uint64_t default_unit, const std::string& what) {
  char* end = nullptr;
  const unsigned long long number = std::strtoull(text.c_str(), &end, 10);
  uint64_t unit = default_unit;
  const std::string suffix = end == text.c_str() ? "?" : end;
  if (suffix == "K" || suffix == "k")
    unit = 1u << 10;
  else if (suffix == "M" || suffix == "m")
    unit = 1u << 20;
  else if (suffix == "G" || suffix == "g")
    unit = 1u << 30;
  else if (!suffix.empty())
    throw UsageError(fmt::format("{}: '{}' is not a size like 256M", what, text));
  if (text[0] == '-' || number > (1ull << 42) / unit)
    throw UsageError(fmt::format("{}: {} is out of range", what, text));
  return number * unit;
}

Options ParseOptions(int argc, const char* const* argv) {
  Options options;
  RawOptions raw;
  CLI::App app{"ring3 runs unmodified 32-bit x86 guests by binary translation, without VT-x or privilege.", "ring3"};
  app.footer(kFooter);
  app.set_version_flag("--version", "ring3 " RING3_VERSION);
  app.require_subcommand(1);
  CLI::App* run = app.add_subcommand("run", "boot a kernel or a firmware image");
  run->add_option("--kernel", options.kernel, "Linux bzImage or Multiboot 1 kernel");
  AddFirmwareOptions(*run, options);
  run->add_option("--initrd", options.initrd, "initial RAM disk, or Multiboot modules: \"F arguments,F arguments\"");
  run->add_option("--append", options.append, "kernel command line");
  AddMachineOptions(*run, options, raw);
  AddStorageOptions(*run, options);
  CLI::App* demo = app.add_subcommand("demo", "boot the built-in guest");
  demo->add_option("--append", options.append, "words for the guest: checks=quick, e9");
  AddMachineOptions(*demo, options, raw);
  const std::vector<std::string> words = Normalise(*run, argc, argv);
  try {
    app.parse(std::vector<std::string>(words.rbegin(), words.rend()));
  } catch (const CLI::Success& done) {
    std::exit(app.exit(done));
  } catch (const CLI::ParseError& error) {
    throw UsageError(Explain(error, words, app));
  }
  options.command = demo->parsed() ? Command::kDemo : Command::kRun;
  ParseSerials(options, raw);
  PrintListAskedFor(options, raw);
  TakeDriveDevices(options, raw);
  FinishStorageOptions(options);
  Check(options, raw);
  return options;
}

}  // namespace ring3
