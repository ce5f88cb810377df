// Command lines as they stand in QEMU's manual and in tutorials: what ring3 has works, all else is named.
#include <catch2/catch.hpp>
#include <fstream>

#include "tests/machine/process.h"

namespace ring3::test {
namespace {

using Words = std::vector<std::string>;

void CheckAccepted(const Words& words) {
  const Outcome run = Run(Abuse("none", words));
  CAPTURE(words, run.err);
  CHECK(run.exit_code == 0);
  CHECK(run.err.empty());
}

void CheckRefused(const Words& words, const std::string& expected) {
  const Outcome run = Run(Abuse("none", words));
  CAPTURE(words, run.err);
  CHECK(run.exit_code == 2);
  CHECK(LinesOf(run.err).size() == 1);
  CHECK_THAT(run.err, Catch::StartsWith("ring3: ") && Catch::Contains(expected));
}

}  // namespace

TEST_CASE("qemu: options that mean the same here", "[qemu]") {
  for (const Words& words : std::vector<Words>{{"-machine", "pc-i440fx-7.2,accel=tcg:kvm,usb=off,dump-guest-core=off"},
                                               {"-nodefaults", "-no-user-config", "-m128M"},
                                               {"-nodefaults", "-device", "VGA", "-monitor", "null"},
                                               {"-cpu", "qemu32", "-rtc", "base=utc,clock=host"},
                                               {"-cpu", "host"}}) {
    CheckAccepted(words);
  }
}

TEST_CASE("qemu: options that ring3 has not are named", "[qemu]") {
  for (const char* option : {"-D", "-d", "-L", "-usb", "-smbios", "-msg", "-mem-prealloc", "-mem-path", "-soundhw"})
    CheckRefused({option, "x"}, std::string(option) + ": ring3 has no such option");
  CheckRefused({"-machine", "q35"}, "--machine q35");
  CheckRefused({"-machine", "pc,usb=on"}, "usb=on");
  CheckRefused({"-cpu", "athlon"}, "no CPU model 'athlon'");
  CheckRefused({"-device", "usb-tablet"}, "--device usb-tablet");
  CheckRefused({"-pidfile", "/nowhere/pid"}, "--pidfile /nowhere/pid");
}

TEST_CASE("qemu: disk images", "[qemu]") {
  Scratch scratch;
  const std::string disk = scratch.Path("disk");
  std::ofstream(disk, std::ios::binary) << std::string(1 << 20, '\0');
  CheckAccepted({disk, "-snapshot"});
  CheckAccepted({"-drive", "file=" + disk + ",format=raw,aio=native,discard=unmap,detect-zeroes=unmap,werror=report"});
  CheckRefused({"-drive", "file=" + disk + ",format=raw,werror=stop"}, "no property 'werror'");
  CheckRefused({scratch.Path("none")}, "No such file");
  // Without "run", too; no firmware boots from it.
  const Outcome run = Run({disk, "-append", "x"});
  CHECK(run.exit_code == 2);
  CHECK_THAT(run.err, Catch::Contains("--append means nothing to firmware"));
}

TEST_CASE("qemu: lists", "[qemu]") {
  for (const auto& [option, expected] :
       {std::pair{"-device", "virtio-net-pci"}, {"-machine", "pc"}, {"-accel", "kvm"}}) {
    const Outcome run = Run({option, "help"});
    CHECK(run.exit_code == 0);
    CHECK_THAT(run.out, Catch::Contains(expected));
  }
}

TEST_CASE("qemu: --pidfile is there while the machine is", "[qemu]") {
  Scratch scratch;
  const std::string file = scratch.Path("pid");
  Process machine(Abuse("spin", {"-pidfile", file, "--control", scratch.Path("control")}));
  machine.WaitForProgress(0.2);
  for (int tries = 0; tries < 600 && ReadFile(file).empty(); ++tries) machine.WaitForProgress(0.05);
  CHECK(ReadFile(file) == std::to_string(machine.Pid()) + "\n");
  CHECK(Run({"quit", "--control", scratch.Path("control")}).exit_code == 0);
  CHECK(machine.Wait().exit_code == 0);
  CHECK_FALSE(std::ifstream(file));
}

}  // namespace ring3::test
