#include <fmt/core.h>

#include <csignal>
#include <exception>

#include "monitor/cpu/fault.h"
#include "monitor/crash_report.h"
#include "monitor/host_check.h"
#include "monitor/machine.h"
#include "monitor/options.h"

int main(int argc, char** argv) {
  using namespace ring3;
  InstallTerminateReport();
  std::signal(SIGPIPE, SIG_IGN);      // a closed output is an error to report, not a reason to die
  std::signal(kKickSignal, SIG_IGN);  // until there is a vCPU to kick
  try {
    const Options options = ParseOptions(argc, argv);
    CheckHost();
    Machine machine(options);
    const int code = machine.Run();
    machine.WriteStats();
    return code;
  } catch (const UsageError& error) {
    fmt::print(stderr, "ring3: {}\n", error.what());
    return exit_code::kUsage;
  } catch (const PortOverlap& error) {
    fmt::print(stderr, "ring3: {}\n", error.what());
    return exit_code::kUsage;
  }
}
