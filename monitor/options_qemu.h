// QEMU's spellings: long options with one dash, and options that say what ring3 has other words for.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "monitor/options.h"

namespace CLI {
class App;
}

namespace ring3 {

/// What these options said, to be looked at when all is known.
struct QemuSpellings {
  std::string machine, accelerator, processors, rtc, keyboard;
  std::string pid_file;
  std::vector<std::string> parallel;
  bool kvm = false, nographic = false;
  bool no_hpet = false, no_defaults = false;
};

void AddQemuOptions(CLI::App& app, QemuSpellings& spellings);
/// Takes over what they mean. `engine` is the value of --engine, if given. Throws UsageError for what ring3 has not.
void ApplyQemuOptions(const QemuSpellings& spellings, std::string& engine, Options& options);

/// Gives each word that is one of the command's long options, but for its single dash, a second one. Throws UsageError
/// for words with a single dash that are no option at all.
void AddSecondDashes(const CLI::App& command, std::vector<std::string>& words);

/// --rtc base=utc|localtime|DATE: the time of day to start with, in nanoseconds since 1970; nothing for the host's.
std::optional<uint64_t> ParseRtc(const std::string& text);

/// ring3's name of what QEMU calls host, qemu32 or kvm32; other names stay.
std::string CpuModelName(const std::string& text);
/// -machine help, -accel help: prints it and returns true.
bool PrintQemuList(const QemuSpellings& spellings);

/// "size=256M" or "256M": the latter.
std::string MemorySize(const std::string& text);
/// "guest=NAME,..." or "NAME": the name.
std::string GuestName(const std::string& text);

}  // namespace ring3
