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

namespace {

/// An image that shuts the processor down once, and finds in CMOS that it did when it is started again.
std::string ShutdownImage() {
  std::string image(kBlock, '\xF4');
  constexpr unsigned char kCode[] = {
      0xB0, 0x40, 0xE6, 0x70,              // mov al, 40h; out 70h, al
      0xE4, 0x71, 0x3C, 0x5A, 0x74, 0x0B,  // in al, 71h; cmp al, 5Ah; je done
      0xB0, 0x5A, 0xE6, 0x71,              // mov al, 5Ah; out 71h, al
      0x2E, 0x0F, 0x01, 0x1E, 0x1A, 0x00,  // lidt cs:[1Ah]
      0xCC,                                // int3
      0xB0, 0x10, 0xE6, 0xF4, 0xF4,        // done: mov al, 10h; out F4h, al; hlt
      0x00, 0x00, 0x00, 0x00, 0x00, 0x00,  // an IDT without gates
  };
  image.replace(0, sizeof kCode, reinterpret_cast<const char*>(kCode), sizeof kCode);
  image.replace(kBlock - 16, 3, std::string("\xE9\x0D\x00", 3));  // jmp to the start
  return image;
}

}  // namespace

TEST_CASE("bios: a shutdown of the processor starts firmware again, or is reported under --no-reboot", "[bios]") {
  Scratch scratch;
  std::ofstream(scratch.Path("rom"), std::ios::binary) << ShutdownImage();
  CHECK(Run(Boot(scratch.Path("rom"))).exit_code == kPassed);
  const Outcome ended = Run(Boot(scratch.Path("rom"), {"--no-reboot"}));
  CHECK(ended.exit_code == 3);
  CHECK_THAT(ended.err, Catch::Contains("triple fault"));
}

TEST_CASE("bios: SeaBIOS finds the machine, and its log is at port 402h", "[bios]") {
  if (!std::ifstream("/usr/share/seabios/bios-256k.bin")) return;
  Scratch scratch;
  const Outcome run = Run({"run", "--boot", "order=dc", "--firmware-log", scratch.Path("log"), "--serial", "none", "-m",
                           "64M", "--max-seconds", "6"});
  CHECK(run.exit_code == 124);
  const std::string log = ReadFile(scratch.Path("log"));
  for (const char* line :
       {"Running on QEMU (i440fx)", "QEMU fw_cfg DMA interface supported", "len 0x0000000004000000 [RAM]",
        "id=8086:7113", "ACPI: parse DSDT", "PS2 keyboard initialized", "No bootable device"}) {
    CHECK_THAT(log, Catch::Contains(line));
  }
}

}  // namespace ring3::test
