#include "monitor/options_firmware.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <sstream>

#include "monitor/cpu/fault.h"
#include "monitor/numbers.h"

namespace ring3 {
namespace {

constexpr size_t kMostBootDevices = 3;
constexpr char kBootDevices[] = "acdn";

void CheckOrder(const std::string& order) {
  const bool known = order.find_first_not_of(kBootDevices) == std::string::npos;
  if (!known || order.empty() || order.size() > kMostBootDevices) {
    throw UsageError(fmt::format(
        "--boot {}: the order is up to three of a (floppy), c (hard disk), d (CD-ROM), n (network)", order));
  }
}

uint16_t ParseMilliseconds(const std::string& name, const std::string& value) {
  return static_cast<uint16_t>(ParseNumberOption("--boot " + name, value, 0, 0xFFFF));
}

/// "dc", or "order=dc,menu=on" as QEMU has it.
void ParseBoot(const std::string& text, Options& options) {
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    const size_t equals = part.find('=');
    const std::string name = equals == std::string::npos ? "order" : part.substr(0, equals);
    const std::string value = equals == std::string::npos ? part : part.substr(equals + 1);
    BootMenuOptions& boot = options.boot;
    const bool is_switch = value == "on" || value == "off";
    if (name == "order" || name == "once") {
      CheckOrder(value);
      (name == "order" ? boot.order : boot.once) = value;
    } else if (name == "menu" && is_switch) {
      boot.menu = value == "on";
    } else if (name == "strict" && is_switch) {
      boot.strict = value == "on";
    } else if (name == "splash-time") {
      boot.menu_wait_ms = ParseMilliseconds(name, value);
    } else if (name == "reboot-timeout") {
      boot.retry_ms = ParseMilliseconds(name, value);
    } else {
      throw UsageError(
          fmt::format("--boot {}: say order=LETTERS, once=LETTERS, menu=on|off, strict=on|off, splash-time=MS or "
                      "reboot-timeout=MS",
                      part));
    }
  }
}

}  // namespace

void AddFirmwareOptions(CLI::App& run, Options& options) {
  run.add_option("--bios", options.bios, "start this ROM image (64K to 256K) at its reset vector instead of a kernel");
  run.add_option_function<std::string>(
         "--boot", [&options](const std::string& text) { ParseBoot(text, options), options.firmware = true; },
         "boot by firmware from a (floppy), c (hard disk), d (CD-ROM), n (network) in this order; once=d for the first "
         "start alone, menu=on asks; -drive and -device have bootindex=N")
      ->type_name("ORDER");
  run.add_option_function<std::string>(
         "--firmware-log",
         [&options](const std::string& path) { options.firmware_log = path, options.firmware = true; },
         "a file for what firmware writes to port 402h")
      ->type_name("F");
}

void CheckFirmwareOptions(const Options& options) {
  if (!options.kernel.empty() && !options.firmware_log.empty()) {
    throw UsageError("--firmware-log means nothing to a --kernel, which is loaded without firmware");
  }
}

}  // namespace ring3
