// The command line: any words, and any text for a size. Either a UsageError, or options within what the rest of the
// program takes for granted.
#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "devices/board.h"
#include "monitor/cpu/cpu_model.h"
#include "monitor/cpu/fault.h"
#include "monitor/options.h"
#include "monitor/serial_console.h"
#include "tests/fuzz/input.h"

namespace ring3::fuzz {
namespace {

/// Help and version print and end the process, which is right, and untestable here.
bool EndsTheProcess(const std::string& word) {
  if (word.find("help") != std::string::npos) return true;
  if (!word.starts_with('-')) return false;
  const bool letters = !word.starts_with("--");
  return word.find("version") != std::string::npos || (letters && word.find('h') != std::string::npos);
}

std::vector<std::string> Words(std::string text) {
  std::replace(text.begin(), text.end(), '\0', ' ');
  std::vector<std::string> words = {"ring3"};
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    words.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return words;
}

void CheckOptions(const Options& o) {
  Require(o.max_seconds >= 0 && std::isfinite(o.max_seconds), "--max-seconds is no time");
  Require(o.memory_bytes <= 1ull << 42 && o.cache_bytes <= 1ull << 42, "a size is out of range");
  Require(o.cpu_model.empty() || FindCpuModel(o.cpu_model).name == o.cpu_model, "an unknown CPU model");
  const bool serial = !o.serials.empty() && o.serials.size() <= Board::kSerialPorts &&
                      std::all_of(o.serials.begin(), o.serials.end(), SerialConsole::IsPlace);
  Require(serial, "--serial names nothing");
  if (o.debug_exit_port) {
    Require(o.debug_exit_port_count >= 1 && o.debug_exit_port_count <= 4 &&
                *o.debug_exit_port + o.debug_exit_port_count <= 0x10000,
            "the debug exit has no ports");
  }
}

/// Sizes once more, digit by digit.
std::optional<uint64_t> SizeByHand(const std::string& text, uint64_t unit) {
  size_t at = 0;
  unsigned __int128 number = 0;
  while (at < text.size() && text[at] >= '0' && text[at] <= '9') {
    number = number * 10 + static_cast<unsigned>(text[at++] - '0');
    if (number >> 64) return std::nullopt;
  }
  if (at == 0) return std::nullopt;
  const std::string suffix = text.substr(at);
  if (suffix == "K" || suffix == "k") unit = 1u << 10;
  if (suffix == "M" || suffix == "m") unit = 1u << 20;
  if (suffix == "G" || suffix == "g") unit = 1u << 30;
  if (!suffix.empty() && (suffix.size() != 1 || std::string("KkMmGg").find(suffix) == std::string::npos)) {
    return std::nullopt;
  }
  if (number > (1ull << 42) / unit) return std::nullopt;
  return static_cast<uint64_t>(number) * unit;
}

void CheckSize(const std::string& text) {
  std::optional<uint64_t> parsed;
  try {
    parsed = ParseSize(text, 1u << 20, "size");
  } catch (const UsageError&) {
  }
  if (parsed != SizeByHand(text, 1u << 20)) Fail("size '" + text + "' is read wrongly");
}

}  // namespace

void Run(Input input) {
  const bool size = input.Bit();
  const auto rest = input.Rest();
  const std::string text(rest.begin(), rest.end());
  if (size) return CheckSize(text.substr(0, text.find('\0')));
  const std::vector<std::string> words = Words(text);
  if (std::any_of(words.begin(), words.end(), EndsTheProcess)) return;
  std::vector<const char*> argv;
  for (const std::string& word : words) argv.push_back(word.c_str());
  try {
    CheckOptions(ParseOptions(static_cast<int>(argv.size()), argv.data()));
  } catch (const UsageError& error) {
    Require(error.what()[0] != '\0', "an error without a message");
  }
}

}  // namespace ring3::fuzz
