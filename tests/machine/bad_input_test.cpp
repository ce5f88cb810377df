// Input that ring3 cannot use: exit code 2, one line that names the trouble, and the guest never starts.
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "tests/machine/process.h"

namespace ring3::test {
namespace {

void CheckRefused(const std::vector<std::string>& arguments, const std::string& expected, const Streams& streams = {}) {
  const Outcome run = Run(arguments, streams, 10);
  CAPTURE(arguments, run.err);
  CHECK_FALSE(run.timed_out);
  CHECK(run.exit_code == 2);
  CHECK(run.out.empty());
  CHECK(LinesOf(run.err).size() == 1);
  CHECK_THAT(run.err, Catch::StartsWith("ring3: ") && Catch::Contains(expected));
}

void CheckOptionRefused(const std::string& option, const std::string& value, const std::string& expected) {
  CheckRefused(Abuse("none", {option, value}), expected);
}

}  // namespace

TEST_CASE("input: kernels and initrds that aren't files", "[input]") {
  Scratch scratch;
  const std::string fifo = scratch.Path("fifo");
  REQUIRE(mkfifo(fifo.c_str(), 0600) == 0);
  for (const std::string& file : {std::string("/dev/zero"), std::string("/dev/null"), fifo}) {
    CheckRefused({"run", "--kernel", file}, file);
    CheckOptionRefused("--initrd", file, file);
  }
  CheckOptionRefused("--initrd", "/", "is a directory");
}

TEST_CASE("input: files larger than any guest", "[input]") {
  Scratch scratch;
  const std::string sparse = scratch.Path("sparse");
  {
    FILE* file = std::fopen(sparse.c_str(), "w");
    REQUIRE(file);
    std::fclose(file);
  }
  REQUIRE(truncate(sparse.c_str(), 10ll << 30) == 0);
  CheckRefused({"run", "--kernel", sparse}, "too large");
  CheckOptionRefused("--initrd", sparse, "too large");
}

TEST_CASE("input: sizes", "[input]") {
  for (const std::string& value : std::vector<std::string>{"-1", "12Q", "0x100M", "", "64.5M", "1e3", "64MM", "M",
                                                           "18446744073709551616", "99999999999999G"}) {
    CheckOptionRefused("--memory", value, "memory: ");
    CheckOptionRefused("-m", value, "memory: ");
  }
  for (const std::string& value : std::vector<std::string>{"0", "128K", "2G"})
    CheckOptionRefused("--tc-size", value, "between 256K and 1G");
  for (const std::string& value : std::vector<std::string>{"-1", "x", ""})
    CheckOptionRefused("--tc-size", value, "--tc-size: ");
}

TEST_CASE("input: times", "[input]") {
  for (const std::string& value : std::vector<std::string>{"-1", "abc", "nan", "inf", "1e300"}) {
    CheckOptionRefused("--max-seconds", value, "--max-seconds");
  }
}

TEST_CASE("input: options, commands and devices that don't exist", "[input]") {
  CheckRefused({}, "ring3 --help");
  CheckRefused({"run"}, "--kernel is required");
  CheckRefused({"boot"}, "ring3 --help");
  CheckRefused(Abuse("none", {"--nonsense"}), "--nonsense");
  CheckRefused(Abuse("none", {"stray"}), "stray");
  CheckOptionRefused("--cpu", "z80", "no CPU model 'z80'");
  CheckOptionRefused("--machine", "q35", "--machine q35");
  CheckOptionRefused("--display", "gtk", "--display gtk");
  CheckOptionRefused("--device", "e1000", "no such device");
  CheckOptionRefused("--device", "", "no such device");
  CheckOptionRefused("--device", "isa-debug-exit,speed=1", "no property 'speed'");
  for (const char* value : {"iobase=zz", "iobase=0x10000", "iosize=0", "iobase=0xffff,iosize=4", "iobase=0x3f8"}) {
    CheckOptionRefused("--device", std::string("isa-debug-exit,") + value, "exit");
  }
}

TEST_CASE("input: files that cannot be written are reported before the guest runs", "[input]") {
  for (const char* option : {"--stats", "--dump", "--trace-exits"}) {
    CheckOptionRefused(option, "/nonexistent/x", "/nonexistent/x: No such file");
    CheckOptionRefused(option, "/", "/: Is a directory");
  }
  CheckOptionRefused("--screenshot-at", "1:/nonexistent/x.png", "/nonexistent/x.png: No such file");
  CheckOptionRefused("--screenshot-at", "1:/", "/: Is a directory");
  CheckOptionRefused("--serial", "file:/nonexistent/x", "/nonexistent/x: No such file");
  CheckOptionRefused("--serial", "file:", "--serial file:");
  CheckOptionRefused("--serial", "printer", "--serial printer");
}

TEST_CASE("input: a mistyped command is named", "[input]") {
  CheckRefused({"boot"}, "no command 'boot'");
  CheckRefused({}, "say what to do");
}

TEST_CASE("input: options without their value, and given twice, are named", "[input]") {
  CheckRefused({"run", "--kernel"}, "--kernel needs a value");
  CheckRefused({"-k"}, "-k needs a value");
  CheckRefused({"run", "--kernel", "a", "--kernel", "b"}, "--kernel is given more than once");
}

TEST_CASE("input: ports beyond 65535 are not taken as others", "[input]") {
  CheckOptionRefused("--gdb", ":99999", "the port is 1 to 65535");
  CheckOptionRefused("--qmp", "tcp:127.0.0.1:65536", "the port is 1 to 65535");
}

TEST_CASE("input: a TFTP folder that does not exist", "[input]") {
  CheckOptionRefused("--net", "user,tftp=/nonexistent", "tftp=/nonexistent: there is no such folder");
}

TEST_CASE("input: hosts that lack a feature", "[input]") {
  for (const std::string& feature : std::vector<std::string>{"bmi2", "fsgsbase"}) {
    CheckRefused({"demo"}, feature, {.environment = {"RING3_HIDE_CPU_FEATURE=" + feature}});
  }
}

TEST_CASE("input: help and version", "[input]") {
  CHECK_THAT(Run({"--version"}).out, Catch::Matches("ring3 [0-9.]+\n"));
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"--help"}, {"run", "--help"}, {"demo", "--help"}}) {
    const Outcome help = Run(words);
    CHECK(help.exit_code == 0);
    CHECK(help.err.empty());
    CHECK_FALSE(help.out.empty());
  }
}

}  // namespace ring3::test
