// The command line.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "monitor/control/control_options.h"
#include "monitor/display/display_options.h"
#include "monitor/net/expansion_options.h"
#include "monitor/storage/drive_options.h"
#include "translator/fast_paths.h"

namespace ring3 {

/// What executes guest instructions.
enum class EngineKind : uint8_t { kBinaryTranslation, kKvm };

enum class Command : uint8_t { kRun, kDemo };

/// Exit codes of the program.
namespace exit_code {
inline constexpr int kSuccess = 0;      // the guest powered off, or rebooted under --no-reboot
inline constexpr int kUsage = 2;        // bad input or a host that cannot run us
inline constexpr int kInternal = 3;     // triple fault or internal error
inline constexpr int kDifference = 5;   // --lockstep found one
inline constexpr int kTimeLimit = 124;  // --max-seconds
}  // namespace exit_code

/// --boot
struct BootMenuOptions {
  std::string order = "cad";  // up to three of a, c, d, n
  std::string once;           // empty, or the order of the first start
  bool menu = false;
  bool strict = false;                   // nothing is tried that has no bootindex
  std::optional<uint16_t> menu_wait_ms;  // unset: the firmware's
  std::optional<uint32_t> retry_ms;      // where nothing boots; unset: never
};

struct Options {
  Command command = Command::kRun;
  std::string kernel, initrd, append;
  std::string bios;       // instead of a kernel; empty: SeaBIOS, where the machine starts by firmware
  bool firmware = false;  // an option was given that needs firmware to boot by
  BootMenuOptions boot;
  bool apic = true, hpet = true, vm_port = true;
  bool nographic = false;    // firmware talks to COM1, too
  std::string firmware_log;  // a file for what firmware writes to port 402h; empty: nowhere
  uint64_t memory_bytes = 256u << 20;
  std::vector<std::string> serials = {"stdio"};  // COM1 to COM4, as SerialConsole::IsPlace() has it
  EngineKind engine = EngineKind::kBinaryTranslation;
  std::string cpu_model;  // empty: the default
  bool no_reboot = false;
  bool no_shutdown = false;
  std::string pid_file;                                 // empty: none
  std::string stats_file, trace_exits_file, dump_file;  // empty: off
  uint64_t cache_bytes = 32u << 20;
  double max_seconds = 0;  // 0: no limit
  bool single_instruction_blocks = false;
  FastPaths fast_paths = FastPaths::Usual();
  std::string lockstep;                  // empty: off; else what the other side does: blocks or interpreter
  std::string lockstep_from;             // empty: from the start; else once COM1 has written this
  std::optional<uint64_t> rtc_start_ns;  // time of day at the start, since 1970; nothing: the host's
  ControlOptions control;
  std::string sabotage;              // register@EIP or memory@EIP: a wrong translation, for tests of lockstep
  DriveList drive_list;              // as they were given
  std::vector<DriveOptions> drives;  // each with its place
  bool snapshot = false;
  DisplayOptions display;
  ExpansionOptions expansion;  // cards in the PCI slots
  std::optional<uint16_t> debug_exit_port;
  unsigned debug_exit_port_count = 4;

  /// The machine has a local and an I/O APIC, if its processor can.
  bool UsesApic() const { return lockstep.empty() && engine == EngineKind::kBinaryTranslation && apic; }
  bool UsesHpet() const { return lockstep.empty() && command == Command::kRun && hpet; }
  bool UsesVmPort() const { return engine == EngineKind::kBinaryTranslation && lockstep.empty() && vm_port; }
  /// The guest starts at a ROM's reset vector; else a kernel is loaded.
  bool UsesFirmware() const { return command == Command::kRun && kernel.empty() && (firmware || !bios.empty()); }
};

/// Parses argv, QEMU's short spellings included. Throws UsageError. Prints and exits for --help and --version.
Options ParseOptions(int argc, const char* const* argv);

/// "256M", "1G", "64K", "1048576": bytes; without a suffix, `default_unit` bytes each. Throws UsageError naming `what`.
uint64_t ParseSize(const std::string& text, uint64_t default_unit, const std::string& what);

}  // namespace ring3
