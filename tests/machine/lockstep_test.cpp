// --lockstep: nothing to report on guests that run well, and the right address for translations made wrong on purpose.
#include <fmt/core.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <csignal>
#include <fstream>
#include <thread>

#include "tests/machine/guest_program.h"
#include "tests/machine/process.h"

namespace ring3::test {
namespace {

constexpr int kDifference = 5;

void CheckAgrees(const Outcome& run) {
  CAPTURE(run.err);
  CHECK_THAT(run.err, Catch::Contains(": no difference"));
  CHECK_THAT(run.err, !Catch::Contains("ring3: lockstep: 0 instructions"));
}

/// A loop that calls a function, then leaves by the exit port with 0.
struct Loop {
  static constexpr uint32_t kStart = kGuestCode + 5, kDecrement = kGuestCode + 18, kBelow = kGuestCode + 29,
                            kXor = kBelow + 2;
  static std::vector<uint8_t> Code() {
    return {0xBC, 0,    0,    0x18, 0,      // mov esp, 180000h
            0xB9, 50,   0,    0,    0,      // start: mov ecx, 50
            0x8D, 0x04, 0x08,               // again: lea eax, [eax+ecx]
            0xE8, 11,   0,    0,    0,      // call below
            0x49,                           // dec ecx
            0x75, 0xF5,                     // jnz again
            0xB8, 0,    0,    0,    0,      // mov eax, 0
            0xE6, 0xF4, 0xF4,               // out F4h, al; hlt
            0x01, 0xC3, 0x31, 0xDA, 0xC3};  // below: add ebx, eax; xor edx, ebx; ret
  }
};

Outcome RunGuest(const std::vector<uint8_t>& code, const std::vector<std::string>& options) {
  Scratch scratch;
  WriteGuest(scratch.Path("guest"), code);
  std::vector<std::string> arguments = {
      "run", "--kernel", scratch.Path("guest"), "--serial", "none", "--device", "isa-debug-exit,iobase=0xf4,iosize=4"};
  arguments.insert(arguments.end(), options.begin(), options.end());
  return Run(arguments, {}, 30);
}

/// The instruction at `eip` is made wrong: the report must name the block that begins at `block`.
void CheckCaught(const std::string& mode, const std::string& kind, uint32_t eip, uint32_t block,
                 const std::string& what) {
  CAPTURE(mode, kind, eip);
  const Outcome run =
      RunGuest(Loop::Code(), {"--lockstep=" + mode, fmt::format("--sabotage={}@{:x}", kind, eip), "-m", "16M"});
  CAPTURE(run.err);
  CHECK(run.exit_code == kDifference);
  CHECK_THAT(run.err, Catch::Contains("first difference"));
  CHECK_THAT(run.err, Catch::Contains(what));
  if (block != 0) {
    CHECK_THAT(run.err, Catch::Contains(fmt::format("block {:08x} as it ran", block)));
    CHECK_THAT(run.err, Catch::Contains(fmt::format(" {:08x}  ", eip)));  // the instruction is in the listings
  }
}

pid_t ChildOf(pid_t process) {
  pid_t child = 0;
  std::ifstream(fmt::format("/proc/{0}/task/{0}/children", process)) >> child;
  return child;
}

}  // namespace

TEST_CASE("lockstep: the demo agrees with one-instruction blocks and with the interpreter", "[lockstep]") {
  for (const char* mode : {"blocks", "interpreter"}) {
    CAPTURE(mode);
    const Outcome run = Run({"demo", std::string("--lockstep=") + mode});
    CHECK(run.exit_code == 0);
    CheckAgrees(run);
  }
}

TEST_CASE("lockstep: the smallest translation cache, and blocks that aren't linked, agree", "[lockstep]") {
  for (const char* option : {"--tc-size=256K", "--no-link"}) {
    CAPTURE(option);
    const Outcome run = Run({"demo", "--append", "checks=quick", "--lockstep", option});
    CHECK(run.exit_code == 0);
    CheckAgrees(run);
  }
}

TEST_CASE("lockstep: a guest under a storm of signals agrees", "[lockstep]") {
  Process process({"demo", "--append", "checks=quick", "--lockstep"});
  REQUIRE(process.WaitForSignalHandler());
  int sent = 0;
  for (; sent < 3000 && process.Running(); ++sent) {
    process.Kill(SIGUSR1);
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  const Outcome run = process.Wait();
  CAPTURE(sent);
  CHECK(sent > 100);
  CHECK(run.exit_code == 0);
  CheckAgrees(run);
}

TEST_CASE("lockstep: a triple fault happens on both sides", "[lockstep]") {
  for (const char* mode : {"blocks", "interpreter"}) {
    const Outcome run = Run(Abuse("triple", {std::string("--lockstep=") + mode}));
    CHECK(run.exit_code == 3);
    CheckAgrees(run);
  }
}

TEST_CASE("lockstep: a guest that nothing is wrong with ends as without lockstep", "[lockstep]") {
  const Outcome run = RunGuest(Loop::Code(), {"--lockstep", "-m", "16M"});
  CHECK(run.exit_code == 1);
  CheckAgrees(run);
}

TEST_CASE("lockstep: a register that a translation spoils is reported with its block", "[lockstep]") {
  for (const char* mode : {"blocks", "interpreter"}) {
    CheckCaught(mode, "register", Loop::kBelow, Loop::kBelow, "eax");
    CheckCaught(mode, "register", Loop::kXor, Loop::kBelow, "eax");
    CheckCaught(mode, "register", Loop::kDecrement, Loop::kDecrement, "eax");
    CheckCaught(mode, "register", Loop::kStart, kGuestCode, "eax");
  }
}

TEST_CASE("lockstep: memory that a translation spoils is found at the next comparison", "[lockstep]") {
  for (const char* mode : {"blocks", "interpreter"}) {
    CheckCaught(mode, "memory", Loop::kXor, 0, "memory differs at physical address");
  }
}

TEST_CASE("lockstep: a replica that dies ends the run", "[lockstep]") {
  Process process(Abuse("spin", {"--lockstep", "--max-seconds", "30"}));
  REQUIRE(process.WaitForSignalHandler());
  const pid_t replica = ChildOf(process.Pid());
  REQUIRE(replica > 0);
  kill(replica, SIGKILL);
  const Outcome run = process.Wait(20);
  CHECK(run.exit_code == kDifference);
  CHECK_THAT(run.err, Catch::Contains("the replica died"));
}

TEST_CASE("a reset gives the x87 its control word of power-up", "[lockstep]") {
  // The first time CMOS byte 60h is not A5h: write it, FNINIT, reset by port CF9h. The second time: the low byte of the
  // control word goes to the exit port.
  const std::vector<uint8_t> code = {
      0xB0, 0x60, 0xE6, 0x70, 0xE4, 0x71,        // mov al, 60h; out 70h, al; in al, 71h
      0x3C, 0xA5, 0x74, 0x18,                    // cmp al, A5h; je second
      0xB0, 0xA5, 0xE6, 0x71,                    // mov al, A5h; out 71h, al
      0xDB, 0xE3,                                // fninit
      0x66, 0xBA, 0xF9, 0x0C, 0xB0, 0x02, 0xEE,  // mov dx, CF9h; mov al, 2; out dx, al
      0xB0, 0x06, 0xEE, 0xF4,                    // mov al, 6; out dx, al; hlt
      0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0xD9, 0x3D, 0x00, 0x00, 0x20, 0x00,  // second: fnstcw [200000h]
      0xA0, 0x00, 0x00, 0x20, 0x00,                                                  // mov al, [200000h]
      0xE6, 0xF4, 0xF4,                                                              // out F4h, al; hlt
  };
  constexpr int kExpected = (0x40 << 1) | 1;  // SDM 3A table 9-1: 0040h after RESET, 037Fh after FNINIT
  CHECK(RunGuest(code, {"-m", "16M"}).exit_code == kExpected);
  const Outcome run = RunGuest(code, {"-m", "16M", "--lockstep"});
  CHECK(run.exit_code == kExpected);
  CheckAgrees(run);
}

TEST_CASE("a segment load touches no descriptor but the one it names", "[lockstep]") {
  // A GDT moves to another page, and the page it was in goes. FS gets the selector it holds: what was known of its
  // descriptor lies in the page that is gone.
  const std::vector<uint8_t> code = {
      0xBE, 0x00, 0x10, 0x00, 0x00, 0xBF, 0x00, 0x20, 0x20, 0x00,  // mov esi, 1000h; mov edi, 202000h
      0xB9, 0x08, 0x00, 0x00, 0x00, 0xF3, 0xA5,                    // mov ecx, 8; rep movsd: the GDT moves
      0xBF, 0x00, 0x10, 0x20, 0x00,                                // mov edi, 201000h
      0xB8, 0x03, 0x00, 0x00, 0x00,                                // mov eax, 3
      0xB9, 0x00, 0x04, 0x00, 0x00,                                // mov ecx, 1024
      0xAB,                                                        // fill: stosd
      0x05, 0x00, 0x10, 0x00, 0x00,                                // add eax, 1000h
      0xE2, 0xF8,                                                  // loop fill
      0xC7, 0x05, 0x00, 0x00, 0x20, 0x00, 0x03, 0x10, 0x20, 0x00,  // mov dword [200000h], 201003h
      0xB8, 0x00, 0x00, 0x20, 0x00, 0x0F, 0x22, 0xD8,              // mov eax, 200000h; mov cr3, eax
      0x0F, 0x20, 0xC0, 0x0D, 0x00, 0x00, 0x00, 0x80,              // mov eax, cr0; or eax, 80000000h
      0x0F, 0x22, 0xC0,                                            // mov cr0, eax
      0xC7, 0x05, 0x00, 0x30, 0x20, 0x00, 0x1F, 0x00, 0x00, 0x20,  // mov dword [203000h], 2000001Fh
      0xC7, 0x05, 0x04, 0x30, 0x20, 0x00, 0x20, 0x00, 0x00, 0x00,  // mov dword [203004h], 20h
      0x0F, 0x01, 0x15, 0x00, 0x30, 0x20, 0x00,                    // lgdt [203000h]
      0xC7, 0x05, 0x04, 0x10, 0x20, 0x00, 0x00, 0x00, 0x00, 0x00,  // mov dword [201004h], 0: the old one goes
      0x0F, 0x01, 0x3D, 0x00, 0x10, 0x00, 0x00,                    // invlpg [1000h]
      0x66, 0xB8, 0x18, 0x00, 0x8E, 0xE0,                          // mov ax, 18h; mov fs, ax
      0xB0, 0x00, 0xE6, 0xF4, 0xF4,                                // mov al, 0; out F4h, al; hlt
  };
  const Outcome run = RunGuest(code, {"-m", "16M"});
  CAPTURE(run.err);
  CHECK(run.exit_code == 1);
}

}  // namespace ring3::test
