#include "tests/machine/process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace ring3::test {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

int Check(int result, const char* what) {
  if (result < 0) throw std::runtime_error(std::string(what) + " failed");
  return result;
}

std::string Content(int fd) {
  std::string text(static_cast<size_t>(lseek(fd, 0, SEEK_END)), '\0');
  text.resize(static_cast<size_t>(std::max<ssize_t>(0, pread(fd, text.data(), text.size(), 0))));
  return text;
}

/// In the child: the streams, then ring3.
[[noreturn]] void Execute(const std::vector<std::string>& arguments, const Streams& streams, int out, int err) {
  const int in = streams.in ? *streams.in : open("/dev/null", O_RDONLY);
  const int to = streams.out ? *streams.out : out;
  if (streams.close_in) close(STDIN_FILENO);
  if (!streams.close_in) dup2(in, STDIN_FILENO);
  dup2(err, STDERR_FILENO);
  if (streams.close_out) close(STDOUT_FILENO);
  if (!streams.close_out) dup2(to, STDOUT_FILENO);
  for (const std::string& variable : streams.environment) putenv(strdup(variable.c_str()));
  std::vector<char*> argv{const_cast<char*>(RING3_PROGRAM)};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  execv(RING3_PROGRAM, argv.data());
  _exit(127);
}

/// The hexadecimal mask behind `field` in /proc/PID/status.
unsigned long long StatusMask(pid_t pid, const std::string& field) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(field)) return std::strtoull(line.c_str() + field.size(), nullptr, 16);
  }
  return 0;
}

}  // namespace

Process::Process(const std::vector<std::string>& arguments, const Streams& streams)
    : out_(Check(memfd_create("stdout", MFD_CLOEXEC), "memfd_create")),
      err_(Check(memfd_create("stderr", MFD_CLOEXEC), "memfd_create")) {
  pid_ = Check(fork(), "fork");
  if (pid_ == 0) Execute(arguments, streams, out_, err_);
}

Process::~Process() {
  if (Running()) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  close(out_);
  close(err_);
}

bool Process::Running() {
  if (status_) return false;
  int status = 0;
  if (waitpid(pid_, &status, WNOHANG) != pid_) return true;
  status_ = status;
  return false;
}

bool Process::WaitForSignalHandler() {
  for (const auto end = Clock::now() + 60s; Clock::now() < end && Running(); std::this_thread::sleep_for(1ms)) {
    if (StatusMask(pid_, "SigCgt:") >> (SIGUSR1 - 1) & 1) return true;
  }
  return false;
}

void Process::Kill(int signal) { kill(pid_, signal); }

std::string Process::ErrorSoFar() const { return Content(err_); }

long Process::ResidentKilobytes() const {
  std::ifstream file("/proc/" + std::to_string(pid_) + "/statm");
  long total = 0, resident = 0;
  file >> total >> resident;
  return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

double Process::ProcessorSeconds() const {
  clockid_t clock;
  timespec used{};
  if (clock_getcpuclockid(pid_, &clock) != 0 || clock_gettime(clock, &used) != 0) return 0;
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) * 1e-9;
}

void Process::WaitForProgress(double seconds) {
  const double enough = ProcessorSeconds() + seconds;
  while (Running() && ProcessorSeconds() < enough) std::this_thread::sleep_for(5ms);
}

Outcome Process::Wait(double seconds) {
  constexpr double kPatience = 4;
  Outcome outcome;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds * kPatience);
  while (Running()) {
    if (!outcome.timed_out && Clock::now() >= end) {
      outcome.timed_out = true;
      kill(pid_, SIGKILL);
    }
    std::this_thread::sleep_for(2ms);
  }
  outcome.exit_code = WIFEXITED(*status_) ? WEXITSTATUS(*status_) : 128 + WTERMSIG(*status_);
  outcome.out = Content(out_);
  outcome.err = Content(err_);
  return outcome;
}

Outcome Run(const std::vector<std::string>& arguments, const Streams& streams, double seconds) {
  return Process(arguments, streams).Wait(seconds);
}

std::vector<std::string> Abuse(const std::string& word, std::vector<std::string> more) {
  std::vector<std::string> arguments{"run", "--kernel", RING3_ABUSE_GUEST, "--append", word};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

Scratch::Scratch() {
  std::string name = (std::filesystem::temp_directory_path() / "ring3-test-XXXXXX").string();
  if (!mkdtemp(name.data())) throw std::runtime_error("mkdtemp failed");
  folder_ = name;
}

Scratch::~Scratch() { std::filesystem::remove_all(folder_); }

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> LinesOf(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

}  // namespace ring3::test
