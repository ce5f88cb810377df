// Firmware images in place of a kernel: from the reset vector on.
#include <catch2/catch.hpp>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/machine/process.h"

namespace ring3::test {
namespace {

constexpr int kPassed = 0x10 << 1 | 1;  // what the image writes to the exit device
constexpr size_t kBlock = 64 << 10;

std::vector<std::string> Boot(const std::string& image, std::vector<std::string> more = {}) {
  more.insert(more.begin(),
              {"run", "--bios", image, "--device", "isa-debug-exit,iobase=0xf4,iosize=1", "--max-seconds", "20"});
  return more;
}

/// The test image as the last of `blocks` of 64 KiB.
void WritePadded(const std::string& path, size_t blocks) {
  std::ofstream file(path, std::ios::binary);
  file << std::string((blocks - 1) * kBlock, '\xF4') << ReadFile(RING3_TEST_ROM);
}

void CheckPassed(const Outcome& run) {
  CAPTURE(run.err);
  CHECK(run.exit_code == kPassed);
  CHECK(run.out == "rom: protected mode\n");
  CHECK(run.err == "rom: real mode\n");
}

}  // namespace

TEST_CASE("bios: an image runs from the reset vector to protected mode at both of its places", "[bios]") {
  for (const char* model : {"pentium3", "n270", "max"}) {
    CAPTURE(model);
    CheckPassed(Run(Boot(RING3_TEST_ROM, {"--cpu", model})));
  }
  CheckPassed(Run({"-bios", RING3_TEST_ROM, "-nographic", "-device", "isa-debug-exit,iobase=0xf4,iosize=1"}));
}

TEST_CASE("bios: stores to ROM are no storm of host faults", "[bios]") {
  Scratch scratch;
  CheckPassed(Run(Boot(RING3_TEST_ROM, {"--stats", scratch.Path("stats")})));
  const auto stats = nlohmann::json::parse(ReadFile(scratch.Path("stats")));
  CHECK(stats.at("signals").at("faults") < 100);
  CHECK(stats.at("translation").at("blocks") > 5);  // protected-mode code in ROM is translated
}

TEST_CASE("bios: larger images end at the same place", "[bios]") {
  Scratch scratch;
  WritePadded(scratch.Path("rom"), 2);
  const Outcome run = Run(Boot(scratch.Path("rom")));
  CHECK(run.exit_code == (2 << 1 | 1));  // something lies below the image's last 64 KiB
  CHECK(run.err == "rom: real mode\n");
}

TEST_CASE("bios: the guest's reset starts the image again", "[bios]") {
  Scratch scratch;
  std::string image(kBlock, '\xF4');
  // Counts its starts in RAM, which a reset leaves alone.
  const std::string code =
      "\x31\xC0\x8E\xD8"      // xor ax, ax; mov ds, ax
      "\xFE\x06\x34\x12"      // inc byte [1234h]
      "\xA0\x34\x12"          // mov al, [1234h]
      "\x3C\x03\x74\x05"      // cmp al, 3; je +5
      "\xB0\xFE\xE6\x64\xF4"  // mov al, FEh; out 64h, al; hlt
      "\xE6\xF4\xF4";         // out F4h, al; hlt
  image.replace(0, code.size(), code);
  image.replace(kBlock - 16, 3, std::string("\xE9\x0D\x00", 3));  // jmp to the segment's offset 0
  std::ofstream(scratch.Path("rom"), std::ios::binary) << image;
  CHECK(Run(Boot(scratch.Path("rom"))).exit_code == (3 << 1 | 1));
  CHECK(Run(Boot(scratch.Path("rom"), {"--no-reboot"})).exit_code == 0);
}

TEST_CASE("bios: what is no image is refused", "[bios]") {
  Scratch scratch;
  const std::string rom = scratch.Path("rom");
  const auto refused = [](std::vector<std::string> arguments, const std::string& expected) {
    const Outcome run = Run(arguments, {}, 10);
    CAPTURE(arguments, run.err);
    CHECK(run.exit_code == 2);
    CHECK(LinesOf(run.err).size() == 1);
    CHECK_THAT(run.err, Catch::StartsWith("ring3: ") && Catch::Contains(expected));
  };
  for (const size_t size :
       {size_t{1}, size_t{512}, kBlock - 1, kBlock + 1, kBlock * 3 / 2, kBlock * 5, size_t{16} << 20}) {
    std::ofstream(rom, std::ios::binary) << std::string(size, 'x');
    refused({"run", "--bios", rom}, rom + ": has " + std::to_string(size) + " bytes; a ROM image has 64, 128, 192");
  }
  std::ofstream(rom, std::ios::binary | std::ios::trunc);
  refused({"run", "--bios", rom}, rom + ": is empty");
  refused({"run", "--bios", scratch.Path("none")}, "none: No such file");
  refused({"run", "--bios", "/"}, "bios /: is a directory");
  refused({"run", "--bios", "/dev/zero"}, "/dev/zero: is not a regular file");
  refused({"run", "--bios", ""}, "--kernel is required");
  for (const char* option : {"--kernel", "--initrd", "--append"})
    refused({"run", "--bios", RING3_TEST_ROM, option, RING3_TEST_ROM}, option);
  refused({"demo", "--bios", RING3_TEST_ROM}, "--bios");
}

}  // namespace ring3::test
