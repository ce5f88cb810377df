// Runs the ring3 program as a user would: arguments, standard streams and terminals in; exit code and output out.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

namespace ring3::test {

struct Outcome {
  int exit_code = -1;  // 128 + n when signal n ended it
  bool timed_out = false;
  std::string out, err;
};

/// What a program's standard streams are. A descriptor that isn't given: nothing to read, output kept for Outcome.
struct Streams {
  std::optional<int> in, out;
  bool close_in = false, close_out = false;
  std::vector<std::string> environment;  // "NAME=value", added to ours
};

/// A running ring3. Killed at destruction.
class Process {
 public:
  explicit Process(const std::vector<std::string>& arguments, const Streams& streams = {});
  ~Process();
  Process(const Process&) = delete;

  pid_t Pid() const { return pid_; }
  bool Running();
  /// Until its handler for SIGUSR1 is installed: from then on kicks are harmless.
  bool WaitForSignalHandler();
  /// Sends a signal.
  void Kill(int signal);
  /// What it has written to standard error.
  std::string ErrorSoFar() const;
  /// Resident memory in KiB.
  long ResidentKilobytes() const;
  /// Processor time that it has used, in seconds.
  double ProcessorSeconds() const;
  /// Waits until it has used `seconds` more of it: for guests that never end, or until it has ended.
  void WaitForProgress(double seconds);
  /// Waits for the end; kills it and sets timed_out after `seconds`, or several times as many: other load may be heavy.
  Outcome Wait(double seconds = 60);

 private:
  pid_t pid_ = -1;
  int out_ = -1, err_ = -1;
  std::optional<int> status_;
};

/// Runs to the end.
Outcome Run(const std::vector<std::string>& arguments, const Streams& streams = {}, double seconds = 60);
/// Arguments that run the misbehaving guest with `word`.
std::vector<std::string> Abuse(const std::string& word, std::vector<std::string> more = {});

/// A folder that goes with the object.
class Scratch {
 public:
  Scratch();
  ~Scratch();
  std::string Path(const std::string& name) const { return folder_ + "/" + name; }

 private:
  std::string folder_;
};

std::string ReadFile(const std::string& path);
std::vector<std::string> LinesOf(const std::string& text);

}  // namespace ring3::test
