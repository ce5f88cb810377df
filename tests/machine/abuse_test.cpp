// Guests that go down: what the user is told, and by which exit code.
#include <catch2/catch.hpp>

#include "tests/machine/guest_program.h"
#include "tests/machine/process.h"

namespace ring3::test {
namespace {

using Catch::Contains;

void CheckTripleFaultReport(const std::string& word, const std::string& registers) {
  CAPTURE(word);
  const Outcome run = Run(Abuse(word));
  CHECK(run.exit_code == 3);
  CHECK_THAT(run.out, Contains("abuse: " + word));
  CHECK_THAT(run.err, Contains("ring3: triple fault: the guest's processor shut down"));
  CHECK_THAT(run.err,
             Contains("eax=") && Contains("eip=") && Contains("cr0=") && Contains("idtr base 00000000 limit 0000"));
  CHECK_THAT(run.err, Contains("guest code:"));
  CHECK_THAT(run.err, Contains("block entered last:\nblock eip "));
  CHECK_THAT(run.err, Contains("last exits from translated code, oldest first:\n"));
  CHECK_THAT(run.err, Contains("indirect-miss"));
  CHECK_THAT(run.err, Contains(registers));
  CHECK(run.err.find("internal error") == std::string::npos);
}

}  // namespace

TEST_CASE("abuse: triple faults are reported", "[abuse]") {
  CheckTripleFaultReport("garbage", "cr0=60000011");
  CheckTripleFaultReport("unmapped", "eip=c0de0000");
  CheckTripleFaultReport("unmapped", "c0de0000  not mapped");
  CheckTripleFaultReport("stack", "cr2=3ffffffc");
  CheckTripleFaultReport("triple", "  ud2");
}

TEST_CASE("abuse: a guest that spins is ended by --max-seconds", "[abuse]") {
  const Outcome run = Run(Abuse("spin", {"--max-seconds", "2"}), {}, 10);
  CHECK_FALSE(run.timed_out);
  CHECK(run.exit_code == 124);
  CHECK_THAT(run.out, Contains("abuse: spin"));
}

TEST_CASE("abuse: a guest that sleeps for good is ended by --max-seconds", "[abuse]") {
  Scratch scratch;
  WriteGuest(scratch.Path("halt"), {0xFA, 0xF4, 0xEB, 0xFC});  // cli; hlt; jmp
  const Outcome run = Run({"run", "--kernel", scratch.Path("halt"), "--max-seconds", "0.2"}, {}, 10);
  CHECK(run.exit_code == 124);
}

TEST_CASE("abuse: a guest that does nothing wrong powers off", "[abuse]") {
  const Outcome run = Run(Abuse("none"));
  CHECK(run.exit_code == 0);
  CHECK_THAT(run.out, Contains("abuse: none"));
  CHECK(run.err.empty());
}

TEST_CASE("abuse: isa-debug-exit makes the exit code", "[abuse]") {
  Scratch scratch;
  const std::string kernel = scratch.Path("exit");
  for (const auto& [value, code] : {std::pair{0, 1}, {1, 3}, {0x10, 0x21}, {0x7F, 0xFF}}) {
    WriteGuest(kernel,
               {0xB0, static_cast<uint8_t>(value), 0xE6, 0xF4, 0xFA, 0xF4});  // mov al, v; out F4h, al; cli; hlt
    CAPTURE(value);
    CHECK(Run({"run", "--kernel", kernel, "--device", "isa-debug-exit,iobase=0xf4,iosize=4"}).exit_code == code);
    CHECK(Run({"-kernel", kernel, "-nographic", "-device", "isa-debug-exit,iobase=0xf4,iosize=4"}).exit_code == code);
  }
  SECTION("without the device the port is dead") {
    CHECK(Run({"run", "--kernel", kernel, "--max-seconds", "0.2"}).exit_code == 124);
  }
}

TEST_CASE("abuse: --no-reboot makes a reset the end", "[abuse]") {
  Scratch scratch;
  WriteGuest(scratch.Path("reset"), {0xB0, 0xFE, 0xE6, 0x64, 0xFA, 0xF4, 0xEB, 0xFC});  // out 64h, FEh
  CHECK(Run({"run", "--kernel", scratch.Path("reset"), "--no-reboot", "--max-seconds", "5"}).exit_code == 0);
  CHECK(Run({"run", "--kernel", scratch.Path("reset"), "--max-seconds", "0.5"}).exit_code == 124);
}

}  // namespace ring3::test
