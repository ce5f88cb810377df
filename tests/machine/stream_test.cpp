// Standard streams that are closed, full, endless or not read: no hang, no crash, no silence.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <thread>

#include "tests/machine/process.h"

namespace ring3::test {
namespace {

using Catch::Contains;

struct Pipe {
  int read_end, write_end;
  Pipe() {
    int ends[2];
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
    read_end = ends[0];
    write_end = ends[1];
  }
  ~Pipe() {
    close(read_end);
    CloseWriteEnd();
  }
  void CloseWriteEnd() {
    if (write_end >= 0) close(write_end);
    write_end = -1;
  }
};

void CheckOutputError(const Outcome& run) {
  CAPTURE(run.err);
  CHECK_FALSE(run.timed_out);
  CHECK(run.exit_code == 2);
  CHECK(LinesOf(run.err).size() == 1);
  CHECK_THAT(run.err, Catch::StartsWith("ring3: ") && Contains("serial output"));
}

}  // namespace

TEST_CASE("streams: standard input closed", "[streams]") {
  const Outcome run = Run(Abuse("none"), {.close_in = true});
  CHECK(run.exit_code == 0);
  CHECK_THAT(run.out, Contains("abuse: none"));
}

TEST_CASE("streams: standard input closed: its number goes to no file of ours", "[streams]") {
  Process process(Abuse("spin"), {.close_in = true});
  REQUIRE(process.WaitForSignalHandler());
  char target[64] = {};
  const std::string link = "/proc/" + std::to_string(process.Pid()) + "/fd/0";
  REQUIRE(readlink(link.c_str(), target, sizeof target - 1) > 0);
  CHECK(std::string(target) == "/dev/null");
}

TEST_CASE("streams: standard input is a pipe that ends", "[streams]") {
  Pipe pipe;
  REQUIRE(write(pipe.write_end, "abc\n", 4) == 4);
  pipe.CloseWriteEnd();
  CHECK(Run(Abuse("none"), {.in = pipe.read_end}).exit_code == 0);
}

TEST_CASE("streams: standard input is a pipe that stays open", "[streams]") {
  Pipe pipe;
  CHECK(Run(Abuse("none"), {.in = pipe.read_end}).exit_code == 0);
}

TEST_CASE("streams: endless input that the guest doesn't read stays outside", "[streams]") {
  const int zeros = open("/dev/zero", O_RDONLY | O_CLOEXEC);
  Process process(Abuse("spin", {"--max-seconds", "3"}), {.in = zeros});
  process.WaitForProgress(0.5);
  const long before = process.ResidentKilobytes();
  process.WaitForProgress(0.5);
  CHECK(process.ResidentKilobytes() < before + 16 * 1024);
  CHECK(process.Wait(20).exit_code == 124);
  close(zeros);
}

TEST_CASE("streams: input from a directory or a write-only file is no input", "[streams]") {
  const int folder = open("/", O_RDONLY | O_CLOEXEC), write_only = open("/dev/null", O_WRONLY | O_CLOEXEC);
  CHECK(Run(Abuse("none"), {.in = folder}).exit_code == 0);
  CHECK(Run(Abuse("none"), {.in = write_only}).exit_code == 0);
  close(folder);
  close(write_only);
}

TEST_CASE("streams: standard output full", "[streams]") {
  const int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
  CheckOutputError(Run({"demo"}, {.out = full}, 30));
  close(full);
}

TEST_CASE("streams: serial file full", "[streams]") {
  CheckOutputError(Run({"demo", "--serial", "file:/dev/full"}, {}, 30));
}

TEST_CASE("streams: a report that the disk has no room for is told in one line", "[streams]") {
  for (const char* option : {"--stats", "--dump", "--trace-exits"}) {
    const Outcome run = Run({"demo", "--append", "checks=quick", option, "/dev/full"}, {}, 30);
    CAPTURE(option, run.err);
    CHECK(run.exit_code == 2);
    CHECK(LinesOf(run.err).size() == 1);
    CHECK_THAT(run.err, Catch::StartsWith("ring3: cannot write /dev/full: No space left"));
  }
}

TEST_CASE("streams: standard output closed", "[streams]") { CheckOutputError(Run({"demo"}, {.close_out = true}, 30)); }

TEST_CASE("streams: nobody reads the pipe any more", "[streams]") {
  Pipe pipe;
  close(pipe.read_end);
  pipe.read_end = open("/dev/null", O_RDONLY | O_CLOEXEC);
  CheckOutputError(Run({"demo"}, {.out = pipe.write_end}, 30));
}

TEST_CASE("streams: a reader that is slow gets everything, from a blocking pipe and another", "[streams]") {
  for (const int flags : {0, O_NONBLOCK}) {
    CAPTURE(flags);
    Pipe pipe;
    fcntl(pipe.write_end, F_SETPIPE_SZ, 4096);
    fcntl(pipe.write_end, F_SETFL, flags);
    Process process({"demo"}, {.out = pipe.write_end});
    pipe.CloseWriteEnd();
    std::string text;
    char bytes[256];
    for (ssize_t n; (n = read(pipe.read_end, bytes, sizeof bytes)) > 0;) {
      text.append(bytes, static_cast<size_t>(n));
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    CHECK(process.Wait().exit_code == 0);
    CHECK_THAT(text, Contains(" checks, 0 differ"));
  }
}

}  // namespace ring3::test
