#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <string>
#include <string_view>

#include "bench/bench.h"
#include "monitor/control/client.h"
#include "monitor/cpu/fault.h"
#include "monitor/crash_report.h"
#include "monitor/host_check.h"
#include "monitor/machine.h"
#include "monitor/options.h"

namespace {

/// A standard stream that is closed must not become the number of the next file that is opened. What takes its place
/// fails on use.
void OccupyStandardStreams() {
  for (int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
      std::exit(ring3::exit_code::kUsage);
  }
}

/// --pidfile: there while the machine is.
class PidFile {
 public:
  explicit PidFile(const std::string& path) : path_(path) {
    if (path_.empty()) return;
    std::ofstream file(path_);
    file << getpid() << '\n' << std::flush;
    if (!file) throw ring3::UsageError(fmt::format("--pidfile {}: {}", path_, std::strerror(errno)));
  }
  ~PidFile() {
    if (!path_.empty()) unlink(path_.c_str());
  }
  PidFile(const PidFile&) = delete;

 private:
  std::string path_;
};

}  // namespace

int main(int argc, char** argv) {
  using namespace ring3;
  OccupyStandardStreams();
  InstallTerminateReport();
  std::signal(SIGPIPE, SIG_IGN);      // a closed output is an error to report, not a reason to die
  std::signal(SIGXFSZ, SIG_IGN);      // so is an image that may not grow
  std::signal(kKickSignal, SIG_IGN);  // until there is a vCPU to kick
  try {
    if (argc > 1 && std::string_view(argv[1]) == "bench") return bench::BenchMain(argc - 1, argv + 1);
    if (argc > 1 && IsClientCommand(argv[1])) return ClientMain(argc - 1, argv + 1);
    const Options options = ParseOptions(argc, argv);
    CheckHost();
    Machine machine(options);
    const PidFile pid_file(options.pid_file);
    const int code = machine.Run();
    machine.WriteReports();
    return code;
  } catch (const UsageError& error) {
    fmt::print(stderr, "ring3: {}\n", error.what());
    return exit_code::kUsage;
  } catch (const PortOverlap& error) {
    fmt::print(stderr, "ring3: {}\n", error.what());
    return exit_code::kUsage;
  }
}
