#include "monitor/qmp/human_monitor.h"

#include <fmt/core.h>

#include <algorithm>

#include "monitor/control/front_ends.h"
#include "monitor/numbers.h"
#include "monitor/qmp/memory_dump.h"

namespace ring3::qmp {
namespace {

constexpr uint64_t kDefaultHoldMs = 100, kMostHoldMs = 60'000, kNanosecondsPerMs = 1'000'000;

/// Words, at blanks; "a word in quotes" may have them.
std::vector<std::string> SplitWords(const std::string& line) {
  std::vector<std::string> words;
  std::string word;
  bool quoted = false, begun = false;
  for (size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (c == '"') {
      quoted = !quoted;
      begun = true;
    } else if (quoted && c == '\\' && i + 1 < line.size()) {
      word.push_back(line[++i]);
    } else if (!quoted && (c == ' ' || c == '\t' || c == '\r' || c == '\n')) {
      if (begun || !word.empty()) words.push_back(std::exchange(word, {}));
      begun = false;
    } else {
      word.push_back(c);
    }
  }
  if (begun || !word.empty()) words.push_back(word);
  return words;
}

int64_t Number(const std::string& text) {
  const bool negative = text.starts_with('-');
  const auto size = ParseNumber(std::string_view(text).substr(negative ? 1 : 0));
  if (!size || *size > INT64_MAX) throw ControlError(fmt::format("'{}' is not a number", text));
  const auto value = static_cast<int64_t>(*size);
  return negative ? -value : value;
}

/// Mouse movements and buttons have no use for more.
int Small(const std::string& text) {
  constexpr int64_t kMost = 100'000;
  return static_cast<int>(std::clamp(Number(text), -kMost, kMost));
}

DriveControl& Drives(MachineControl& control) {
  if (!control.Drives()) throw ControlError("this machine has no drives");
  return *control.Drives();
}

}  // namespace

std::string_view NameOf(RunState state) {
  switch (state) {
    case RunState::kPrelaunch:
      return "prelaunch";
    case RunState::kRunning:
      return "running";
    case RunState::kPaused:
      return "paused";
    case RunState::kDebug:
      return "debug";
    case RunState::kShutdown:
      return "shutdown";
  }
  return "";
}

std::span<const HumanMonitor::Command> HumanMonitor::Commands() {
  using Self = HumanMonitor;
  static constexpr Command kCommands[] = {
      {"help", "?", "[command]", "show the commands", &Self::Help},
      {"info", "", "[subcommand]", "show the status, registers, block, mice, name or version", &Self::Info},
      {"stop", "s", "", "stop the guest", &Self::Stop},
      {"cont", "c", "", "let the guest go on", &Self::Continue},
      {"system_reset", "", "", "reset the machine", &Self::Reset},
      {"system_powerdown", "", "", "press the power button", &Self::PowerDown},
      {"quit", "q", "", "end ring3", &Self::Quit},
      {"sendkey", "", "keys [hold_ms]", "press keys: sendkey ctrl-alt-delete", &Self::SendKeys},
      {"mouse_move", "", "dx dy [dz]", "move the mouse to the right and down", &Self::MouseMove},
      {"mouse_button", "", "state", "hold mouse buttons: 1 left, 2 right, 4 middle", &Self::MouseButton},
      {"screendump", "", "filename [-f format]", "save the screen as ppm or png", &Self::ScreenDump},
      {"change", "", "device filename [format]", "put another medium into a drive", &Self::Change},
      {"eject", "", "[-f] device", "take the medium out of a drive", &Self::Eject},
      {"x", "", "/fmt addr", "show memory at a linear address", &Self::DumpLinear},
      {"xp", "", "/fmt addr", "show memory at a physical address", &Self::DumpPhysical},
      {"print", "p", "/fmt expr", "show the value of an expression ($eip + 4)", &Self::Print},
  };
  return kCommands;
}

std::string HumanMonitor::Execute(const std::string& line) {
  Words words = SplitWords(line);
  if (words.empty()) return {};
  // "x/8xw addr" is "x /8xw addr"
  if (const size_t slash = words[0].find('/'); slash != std::string::npos && slash != 0) {
    words.insert(words.begin() + 1, words[0].substr(slash));
    words[0].resize(slash);
  }
  const auto known = [&](const Command& c) {
    return c.name == words[0] || (!c.short_name.empty() && c.short_name == words[0]);
  };
  const auto commands = Commands();
  const auto command = std::find_if(commands.begin(), commands.end(), known);
  if (command == commands.end()) return fmt::format("unknown command: '{}'\n", words[0]);
  words.erase(words.begin());
  try {
    return (this->*command->execute)(words);
  } catch (const ControlError& error) {
    return fmt::format("Error: {}\n", error.what());
  }
}

std::string HumanMonitor::Help(const Words& words) {
  std::string text;
  for (const Command& c : Commands()) {
    if (!words.empty() && words[0] != c.name) continue;
    const std::string names = c.short_name.empty() ? std::string(c.name) : fmt::format("{}|{}", c.name, c.short_name);
    text += fmt::format("{} {} -- {}\n", names, c.arguments, c.help);
  }
  return text;
}

std::string HumanMonitor::Info(const Words& words) {
  const std::string what = words.empty() ? "" : words[0];
  if (what == "status") return InfoStatus();
  if (what == "registers")
    return DescribeRegisters(control_.GetEngine().State(), control_.GetEngine().Paging().a20_enabled);
  if (what == "block") return InfoBlock();
  if (what == "name") return guest_name_.empty() ? "" : guest_name_ + "\n";
  if (what == "version") return "ring3 " RING3_VERSION "\n";
  if (what == "mice") {
    return control_.GetBoard().VmPointer().Absolute() ? "  Mouse #0: PS/2 Mouse\n* Mouse #1: vmmouse (absolute)\n"
                                                      : "* Mouse #0: PS/2 Mouse\n";
  }
  if (what.empty()) return "info status | registers | block | mice | name | version\n";
  throw ControlError(fmt::format("info {}: there is no such thing", what));
}

std::string HumanMonitor::InfoStatus() {
  if (control_.Running()) return "VM status: running\n";
  return fmt::format("VM status: paused ({})\n", NameOf(control_.State()));
}

std::string HumanMonitor::InfoBlock() {
  if (!control_.Drives()) return {};
  std::string text;
  for (const DriveInfo& drive : control_.Drives()->Drives()) {
    const std::string medium =
        drive.file.empty() ? "[not inserted]"
                           : fmt::format("{} ({}{})", drive.file, drive.format, drive.read_only ? ", read-only" : "");
    text += fmt::format("{}: {}\n", drive.name, medium);
    if (!drive.removable) continue;
    text += fmt::format("    Removable device: {}, tray {}\n", drive.locked ? "locked" : "not locked",
                        drive.tray_open ? "open" : "closed");
  }
  return text;
}

std::string HumanMonitor::Stop(const Words&) {
  control_.Pause();
  return {};
}

std::string HumanMonitor::Continue(const Words&) {
  if (control_.State() == RunState::kShutdown) throw std::runtime_error(kNeedsReset);
  control_.Resume();
  return {};
}

std::string HumanMonitor::Reset(const Words&) {
  control_.Reset();
  return {};
}

std::string HumanMonitor::PowerDown(const Words&) {
  control_.PressPowerButton();
  return {};
}

std::string HumanMonitor::Quit(const Words&) {
  control_.Quit();
  return {};
}

std::string HumanMonitor::SendKeys(const Words& words) {
  if (words.empty() || words.size() > 2) throw ControlError("say sendkey KEYS [HOLD_MS]");
  const auto chord = ParseKeyChord(words[0]);
  if (!chord) throw ControlError(fmt::format("unknown key in '{}'", words[0]));
  const int64_t hold = words.size() > 1 ? Number(words[1]) : static_cast<int64_t>(kDefaultHoldMs);
  const uint64_t hold_ms = static_cast<uint64_t>(std::clamp<int64_t>(hold, 0, kMostHoldMs));
  if (!control_.Keys().Play(*chord, hold_ms * kNanosecondsPerMs, KeyPlayer::kTypingGapNs))
    throw ControlError("too many keys are waiting");
  return {};
}

std::string HumanMonitor::MouseMove(const Words& words) {
  if (words.size() < 2 || words.size() > 3) throw ControlError("say mouse_move DX DY [DZ]");
  control_.Pointer().Move(Small(words[0]), Small(words[1]), words.size() > 2 ? -Small(words[2]) : 0);
  return {};
}

std::string HumanMonitor::MouseButton(const Words& words) {
  if (words.size() != 1) throw ControlError("say mouse_button STATE");
  control_.Pointer().SetButtons(static_cast<uint8_t>(Number(words[0]) & 0x1F));
  return {};
}

std::string HumanMonitor::ScreenDump(const Words& words) {
  std::string file, format = "ppm";
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "-f" && i + 1 < words.size()) {
      format = words[++i];
    } else if (file.empty()) {
      file = words[i];
    }
  }
  if (file.empty()) throw ControlError("say screendump FILENAME [-f png]");
  if (!control_.Screen()) throw ControlError("this machine has no screen");
  control_.Screen()->Save(file, format);
  return {};
}

std::string HumanMonitor::Change(const Words& words) {
  if (words.size() < 2 || words.size() > 3) throw ControlError("say change DEVICE FILENAME [FORMAT]");
  Drives(control_).Change(words[0], words[1], words.size() > 2 ? words[2] : "", false);
  return {};
}

std::string HumanMonitor::Eject(const Words& words) {
  const bool force = !words.empty() && words[0] == "-f";
  if (words.size() != (force ? 2u : 1u)) throw ControlError("say eject [-f] DEVICE");
  Drives(control_).Eject(words.back(), force);
  return {};
}

/// "/fmt addr", where either may be left out, and the address may have blanks.
static std::pair<DumpFormat, std::string> FormatAndRest(const std::vector<std::string>& words) {
  DumpFormat format;
  size_t at = 0;
  if (!words.empty() && words[0].starts_with('/')) format = DumpFormat::Parse(words[at++]);
  std::string rest;
  for (; at < words.size(); ++at) rest += words[at];
  if (rest.empty()) throw ControlError("the address is missing");
  return {format, rest};
}

std::string HumanMonitor::DumpLinear(const Words& words) {
  const auto [format, address] = FormatAndRest(words);
  return DumpMemory(control_, format, Evaluate(address, control_.GetEngine().State()) & 0xFFFF'FFFF, false);
}

std::string HumanMonitor::DumpPhysical(const Words& words) {
  const auto [format, address] = FormatAndRest(words);
  return DumpMemory(control_, format, Evaluate(address, control_.GetEngine().State()), true);
}

std::string HumanMonitor::Print(const Words& words) {
  const auto [format, expression] = FormatAndRest(words);
  const uint64_t value = Evaluate(expression, control_.GetEngine().State());
  return format.kind == 'd' || format.kind == 'u' ? fmt::format("{}\n", value) : fmt::format("{:#x}\n", value);
}

}  // namespace ring3::qmp
