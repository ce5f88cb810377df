#include "bench/linux_suite.h"

#include <fmt/core.h>
#include <sched.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>

#include "bench/child.h"
#include "bench/disk_file.h"
#include "bench/initramfs.h"
#include "bench/linux_rows.h"
#include "bench/traffic.h"

namespace ring3::bench {
namespace {

constexpr double kTimeLimit = 900;  // seconds for one boot with all rows
constexpr unsigned kMebibytes = 256;
constexpr const char* kScriptName = "ring3-bench";
/// Has the kernel write a line before it unpacks itself, which tells when it began.
constexpr const char* kFirstLine = "earlyprintk=serial,ttyS0,115200";

/// The last processor that this process may use: the guest has one, so native programs get one.
std::string OneProcessor() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  sched_getaffinity(0, sizeof allowed, &allowed);
  int last = 0;
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(i, &allowed)) last = i;
  }
  return std::to_string(last);
}

/// Busybox's programs, by their names, for native shells.
void InstallBusybox(const GuestFiles& files, const std::string& folder) {
  if (std::filesystem::exists(folder)) return;
  std::filesystem::create_directory(folder);
  RunChild({files.busybox, "--install", "-s", folder}, 10);
}

void WriteScript(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
}

std::vector<std::string> NativeCommand(const std::vector<LinuxRow>& rows, const GuestFiles& files,
                                       const ImageFolder& images, bool quick) {
  const std::string bin = images.Path("bin"), work = images.Path("work"), script = images.Path("native.sh");
  InstallBusybox(files, bin);
  std::filesystem::create_directories(work);
  WriteScript(script, "cd " + work + "\n" + LinuxScript(rows, images.Programs(), quick));
  return {"env", "PATH=" + bin, bin + "/taskset", "-c", OneProcessor(), bin + "/sh", script};
}

constexpr const char* kIoSuite = "io";
constexpr uintmax_t kDiskBytes = 256u << 20;

/// Where the disks' images lie: in memory where that can be had, so that the host's disk is not what is measured.
std::string DiskFolder(const ImageFolder& images) {
  const std::string memory = "/dev/shm";
  const bool fits = access(memory.c_str(), W_OK) == 0 && std::filesystem::space(memory).available >= 4 * kDiskBytes;
  return fits ? memory : images.Path("");
}

/// The io suite's devices and the server that its guest talks to.
class IoDevices {
 public:
  explicit IoDevices(const ImageFolder& images)
      : ide_(DiskFolder(images), kDiskBytes), virtio_(DiskFolder(images), kDiskBytes) {}

  uint16_t Port() const { return server_.Port(); }
  std::vector<std::string> Options() const {
    return {"-drive",  "file=" + ide_.Path() + ",if=ide,format=raw",
            "-drive",  "file=" + virtio_.Path() + ",if=virtio,format=raw",
            "-netdev", "user,id=a",
            "-device", "rtl8139,netdev=a",
            "-netdev", "user,id=b,net=10.0.3.0/24",
            "-device", "virtio-net-pci,netdev=b"};
  }

 private:
  DiskFile ide_, virtio_;
  TrafficServer server_;
};

/// The initramfs with Debian's drivers behind it.
std::string WithDrivers(const GuestFiles& files, const ImageFolder& images) {
  const std::string path = images.Path("with-drivers");
  if (std::filesystem::exists(path)) return path;
  std::ofstream(path, std::ios::binary) << FileContent(files.initramfs) << FileContent(files.drivers);
  return path;
}

std::vector<std::string> GuestCommand(const std::string& suite, const Machine& machine,
                                      const std::vector<LinuxRow>& rows, const GuestFiles& files,
                                      const ImageFolder& images, const IoDevices* devices, bool quick) {
  const std::string initramfs = images.Path(suite + ".cpio");
  const std::string script =
      "#!/bin/sh\nmount -t tmpfs tmpfs /tmp\ncd /tmp\n" + LinuxScript(rows, "/bench/programs", quick);
  if (!std::filesystem::exists(initramfs)) {
    WriteInitramfs(initramfs, devices ? WithDrivers(files, images) : files.initramfs,
                   {{"bench", "", true},
                    {"bench/programs", FileContent(images.Programs())},
                    {std::string("scripts/") + kScriptName, script}});
  }
  std::string append = fmt::format("console=ttyS0 {} quiet ring3.script={}", kFirstLine, kScriptName);
  if (devices) append += fmt::format(" ring3.port={}", devices->Port());
  return BootCommand(machine, {.kernel = files.kernel,
                               .initrd = initramfs,
                               .append = append,
                               .memory_mebibytes = kMebibytes,
                               .devices = devices ? devices->Options() : std::vector<std::string>{}});
}

/// What a run says about one row.
struct Timing {
  const StampedLine *begin = nullptr, *end = nullptr;
  std::string result;
  double own_seconds = 0;  // by the clock of the system that it ran on
  double own_cpu_seconds = 0;
};

struct LinuxRun {
  const StampedLine *first = nullptr, *ready = nullptr, *done = nullptr;
  std::map<std::string, Timing> timings;
};

LinuxRun Parse(const std::vector<StampedLine>& lines) {
  LinuxRun run;
  for (const StampedLine& line : lines) {
    std::istringstream words(line.text);
    std::string what, name;
    words >> what >> name;
    if (!run.first && !what.empty()) run.first = &line;
    if (line.text == "bench: ready") run.ready = &line;
    if (line.text == "bench: done") run.done = &line;
    if (what == "begin") run.timings[name].begin = &line;
    if (what != "end" || !run.timings.contains(name)) continue;
    Timing& timing = run.timings[name];
    double nanoseconds = 0, cpu_nanoseconds = 0;
    words >> timing.result >> nanoseconds >> cpu_nanoseconds;
    timing.own_seconds = nanoseconds * 1e-9;
    timing.own_cpu_seconds = cpu_nanoseconds * 1e-9;
    timing.end = &line;
  }
  return run;
}

/// By the clock of the system it ran on if the host's agrees, else by the host's.
double SecondsOf(const Timing& timing, const LinuxRow& row, const Machine& machine) {
  constexpr double kTolerance = 0.03, kDelay = 0.02;  // a part, and how late a line may be read, in seconds
  const double host = timing.end->seconds - timing.begin->seconds;
  if (std::abs(host - timing.own_seconds) <= kTolerance * host + kDelay) return timing.own_seconds;
  fmt::print(stderr, "bench: {}: {} took {:.3f} s by the guest's clock and {:.3f} s by the host's, which counts\n",
             machine.title, row.name, timing.own_seconds, host);
  return host;
}

/// What the host spent on it. A guest's processor is a process here.
double CpuSecondsOf(const Timing& timing, const Machine& machine) {
  if (machine.kind == MachineKind::kNative) return timing.own_cpu_seconds;
  return timing.end->cpu_seconds - timing.begin->cpu_seconds;
}

/// No figure where the row did not come to its end.
std::optional<double> FigureOf(const LinuxRow& row, const LinuxRun& run, const Machine& machine, bool cpu_time) {
  if (row.figure == Figure::kBoot) {
    if (!run.ready || run.first == run.ready) return std::nullopt;
    return cpu_time ? run.ready->cpu_seconds - run.first->cpu_seconds : run.ready->seconds - run.first->seconds;
  }
  if (row.figure == Figure::kMemory) return run.done ? std::optional(run.done->own_mebibytes) : std::nullopt;
  const auto found = run.timings.find(row.name);
  if (found == run.timings.end() || !found->second.end) return std::nullopt;
  const Timing& timing = found->second;
  if (row.figure == Figure::kIdle) {
    const double used = timing.end->cpu_seconds - timing.begin->cpu_seconds;
    return 100 * used / (timing.end->seconds - timing.begin->seconds);
  }
  const double seconds = cpu_time ? CpuSecondsOf(timing, machine) : SecondsOf(timing, row, machine);
  if (row.figure == Figure::kTotal) return seconds * 1e3;
  return seconds * 1e6 / static_cast<double>(std::max(1ul, std::strtoul(timing.result.c_str(), nullptr, 16)));
}

/// Rows that mean nothing there.
bool Applies(const LinuxRow& row, const Machine& machine) {
  if (row.figure == Figure::kMemory) return machine.kind == MachineKind::kRing3;  // QEMU's RAM is its own memory
  return machine.kind != MachineKind::kNative || (row.figure != Figure::kBoot && row.figure != Figure::kIdle);
}

/// "Package: NAME Version: NUMBER" lines, as one line.
std::string Versions(const std::string& path) {
  std::ifstream file(path);
  std::string text;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string package, name, version, number;
    if (words >> package >> name >> version >> number && package == "Package:")
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, number);
  }
  return text;
}

std::string InFolder(const std::string& folder, const char* name, std::string& missing) {
  const std::string path = folder + "/" + name;
  if (access(path.c_str(), R_OK) != 0) missing = path + " is missing (tests/guests/fetch_guests gets it)";
  return path;
}

}  // namespace

GuestFiles FindGuestFiles() {
  const char *guests = std::getenv("RING3_GUESTS"), *cache = std::getenv("XDG_CACHE_HOME"), *home = std::getenv("HOME");
  std::string folder =
      cache ? std::string(cache) + "/ring3/guests" : std::string(home ? home : "") + "/.cache/ring3/guests";
  if (guests) folder = guests;
  GuestFiles files;
  files.kernel = InFolder(folder, "vmlinuz-686", files.missing);
  files.initramfs = InFolder(folder, "initramfs.cpio.gz", files.missing);
  files.drivers = InFolder(folder, "drivers-686.cpio.gz", files.missing);
  files.busybox = InFolder(folder, "busybox", files.missing);
  files.versions = Versions(folder + "/versions");
  return files;
}

std::string MissingForLinux(const Machine& machine, const GuestFiles& files, const ImageFolder& images) {
  if (!machine.missing.empty() || !files.missing.empty()) return machine.missing + files.missing;
  if (machine.kind == MachineKind::kNative && RunChild({images.Programs(), "true"}, 10).exit_code != 0)
    return "the host does not run i386 programs";
  return "";
}

void RunLinux(const std::string& suite, const Machine& machine, unsigned round, const GuestFiles& files,
              const ImageFolder& images, const BenchOptions& options, Results& results) {
  const std::vector<LinuxRow> rows = LinuxRows(suite, options);
  const bool native = machine.kind == MachineKind::kNative, io = suite == kIoSuite;
  if (rows.empty() || (native && io)) return;
  const std::unique_ptr<IoDevices> devices = io ? std::make_unique<IoDevices>(images) : nullptr;
  const ChildResult child =
      RunChild(native ? NativeCommand(rows, files, images, options.quick)
                      : GuestCommand(suite, machine, rows, files, images, devices.get(), options.quick),
               kTimeLimit);
  const LinuxRun run = Parse(child.lines);
  if (!run.done) fmt::print(stderr, "bench: {}: {} suite: {}\n", machine.title, suite, child.Complaint());
  for (const LinuxRow& row : rows) {
    Row& kept = results.At(suite, row.name, UnitOf(row.figure));
    if (!Applies(row, machine)) continue;
    if (const auto figure = FigureOf(row, run, machine, options.cpu_time)) {
      kept.samples[machine.name][round] = {*figure};
      const auto timing = run.timings.find(row.name);
      if (timing != run.timings.end()) kept.results[machine.name] = timing->second.result;
    } else {
      kept.missing[machine.name] = run.done ? "failed" : child.Complaint();
      fmt::print(stderr, "bench: {}: {} has no figure: {}\n", machine.title, row.name, kept.missing[machine.name]);
    }
  }
}

}  // namespace ring3::bench
