#include "bench/child.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <sstream>
#include <stdexcept>

namespace ring3::bench {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

[[noreturn]] void Execute(const std::vector<std::string>& command, int out, int err) {
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

/// Puts text together to lines.
class LineReader {
 public:
  LineReader(Clock::time_point start, std::vector<StampedLine>& lines) : start_(start), lines_(lines) {}

  void Add(const char* text, size_t size) {
    const double seconds = SecondsSince(start_);
    const uint64_t cycles = __rdtsc();
    for (size_t i = 0; i < size; ++i) {
      if (text[i] == '\n') {
        lines_.push_back({seconds, cycles, pending_});
        pending_.clear();
      } else if (text[i] != '\r') {
        pending_ += text[i];
      }
    }
  }

 private:
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
bool ReadLines(int fd, Clock::time_point start, double time_limit, std::vector<StampedLine>& lines) {
  LineReader reader(start, lines);
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
  result.timed_out = !ReadLines(ends[0], start, time_limit, result.lines);
  if (result.timed_out) kill(pid, SIGKILL);
  close(ends[0]);
  int status = 0;
  rusage usage{};
  wait4(pid, &status, 0, &usage);
  result.exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6; };
  result.cpu_seconds = seconds(usage.ru_utime) + seconds(usage.ru_stime);
  result.peak_kilobytes = usage.ru_maxrss;
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
