#include "bench/child.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace ring3::bench {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

[[noreturn]] void Execute(const std::vector<std::string>& command, int out, int err) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // nothing goes on behind a bench that was killed
  const int nothing = open("/dev/null", O_RDONLY);
  dup2(nothing, STDIN_FILENO);
  dup2(out, STDOUT_FILENO);
  dup2(err, STDERR_FILENO);
  std::vector<char*> argv;
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  execvp(argv[0], argv.data());
  _exit(127);
}

double CpuSeconds(pid_t pid) {
  clockid_t clock;
  timespec used{};
  if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) != 0) return 0;
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) * 1e-9;
}

double OwnMebibytes(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/status", pid));
  double kilobytes = 0;
  for (std::string line; std::getline(file, line);) {
    for (const char* field : {"RssAnon:", "RssFile:", "VmPTE:"}) {
      if (line.starts_with(field)) kilobytes += std::strtod(line.c_str() + std::strlen(field), nullptr);
    }
  }
  return kilobytes / 1024;
}

/// Puts text together to lines.
class LineReader {
 public:
  LineReader(pid_t pid, Clock::time_point start, std::vector<StampedLine>& lines)
      : pid_(pid), start_(start), lines_(lines) {}

  void Add(const char* text, size_t size) {
    const double seconds = SecondsSince(start_);
    const uint64_t cycles = __rdtsc();
    for (size_t i = 0; i < size; ++i) {
      if (text[i] == '\n') {
        lines_.push_back({seconds, cycles, pending_, CpuSeconds(pid_), OwnMebibytes(pid_)});
        pending_.clear();
      } else if (text[i] != '\r') {
        pending_ += text[i];
      }
    }
  }

 private:
  pid_t pid_;
  Clock::time_point start_;
  std::vector<StampedLine>& lines_;
  std::string pending_;
};

std::string ContentOf(int fd) {
  std::string text(static_cast<size_t>(lseek(fd, 0, SEEK_END)), '\0');
  const ssize_t got = pread(fd, text.data(), text.size(), 0);
  text.resize(got < 0 ? 0 : static_cast<size_t>(got));
  return text;
}

/// Until the program closes its output. Returns whether that was in time.
bool ReadLines(int fd, pid_t pid, Clock::time_point start, double time_limit, std::vector<StampedLine>& lines) {
  LineReader reader(pid, start, lines);
  for (;;) {
    const double left = time_limit - SecondsSince(start);
    pollfd waiting{fd, POLLIN, 0};
    if (left <= 0) return false;
    if (poll(&waiting, 1, static_cast<int>(left * 1000) + 1) <= 0) continue;
    char buffer[4096];
    const ssize_t size = read(fd, buffer, sizeof buffer);
    if (size <= 0) return true;
    reader.Add(buffer, static_cast<size_t>(size));
  }
}

}  // namespace

std::string ChildResult::Complaint() const {
  if (timed_out) return "did not end in time";
  std::string last = errors;
  while (!last.empty() && last.back() == '\n') last.pop_back();
  last = last.substr(last.rfind('\n') + 1);
  if (last.empty() && !lines.empty()) last = lines.back().text;
  return fmt::format("exit code {}: {}", exit_code, last);
}

ChildResult RunChild(const std::vector<std::string>& command, double time_limit) {
  ChildResult result;
  int ends[2];
  const int errors = memfd_create("errors", MFD_CLOEXEC);
  if (errors < 0 || pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("bench: no pipe");
  const Clock::time_point start = Clock::now();
  const pid_t pid = fork();
  if (pid == 0) Execute(command, ends[1], errors);
  close(ends[1]);
  result.timed_out = !ReadLines(ends[0], pid, start, time_limit, result.lines);
  if (result.timed_out) kill(pid, SIGKILL);
  close(ends[0]);
  int status = 0;
  waitpid(pid, &status, 0);
  result.exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  result.errors = ContentOf(errors);
  close(errors);
  return result;
}

bool HasProgram(const std::string& name) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path ? path : "");
  for (std::string folder; std::getline(folders, folder, ':');) {
    if (access((folder + "/" + name).c_str(), X_OK) == 0) return true;
  }
  return false;
}

}  // namespace ring3::bench
