#include "monitor/boot/loader.h"

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/boot/images.h"

namespace ring3 {
namespace {

constexpr uint64_t kMegabyte = 1 << 20;

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "ring3-boot-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }

  std::string Path(const std::string& name) const { return path_ + "/" + name; }
  std::string Write(const std::string& name, const Bytes& content) const {
    std::ofstream(Path(name), std::ios::binary)
        .write(reinterpret_cast<const char*>(content.data()), static_cast<std::streamsize>(content.size()));
    return Path(name);
  }

 private:
  std::string path_;
};

struct Machine {
  PhysicalMemory memory{32 * kMegabyte};
  CpuState cpu;

  std::string Message(const BootOptions& options) {
    return UsageMessage([&] { LoadGuest(options, memory, cpu); });
  }
};

Bytes SmallElf() { return MakeMultibootElf(0, 0x100000, {{0x100000, 0x100000, Bytes(4), 4}}); }

}  // namespace

TEST_CASE("a bzImage boots with initrd, command line and ACPI tables") {
  const TemporaryFolder folder;
  Machine machine;
  const std::string kernel = folder.Write("vmlinuz", MakeBzImage({}));
  const std::string initrd = folder.Write("initrd,1", Bytes(100, 7));
  REQUIRE(machine.Message({kernel, initrd, "quiet"}) == "(no error)");
  CHECK(machine.cpu.eip == 0x100000);
  const Bytes page = GuestBytes(machine.memory, machine.cpu.gpr[kEsi], kPageSize);
  CHECK(GuestString(machine.memory, LoadField<uint32_t>(page, 0x228)) == "quiet");
  CHECK(GuestBytes(machine.memory, LoadField<uint32_t>(page, 0x218), 100) == Bytes(100, 7));
  CHECK(GuestBytes(machine.memory, LoadField<uint64_t>(page, 0x70), 8) ==
        Bytes{'R', 'S', 'D', ' ', 'P', 'T', 'R', ' '});
}

TEST_CASE("a Multiboot kernel boots with modules") {
  const TemporaryFolder folder;
  Machine machine;
  const std::string kernel = folder.Write("k.elf", SmallElf());
  const std::string first = folder.Write("one", Bytes(10, 1));
  const std::string second = folder.Write("two,x", Bytes(20, 2));
  const std::string escaped = folder.Path("two,,x");
  REQUIRE(machine.Message({kernel, first + " a b=c," + escaped, "opt"}) == "(no error)");
  CHECK(machine.cpu.gpr[kEax] == 0x2BADB002);
  const Bytes info = GuestBytes(machine.memory, machine.cpu.gpr[kEbx], 116);
  CHECK(GuestString(machine.memory, LoadField<uint32_t>(info, 16)) == "k.elf opt");
  REQUIRE(LoadField<uint32_t>(info, 20) == 2);
  const Bytes modules = GuestBytes(machine.memory, LoadField<uint32_t>(info, 24), 32);
  CHECK(GuestString(machine.memory, LoadField<uint32_t>(modules, 8)) == "one a b=c");
  CHECK(GuestString(machine.memory, LoadField<uint32_t>(modules, 24)) == "two,x");
  CHECK(GuestBytes(machine.memory, LoadField<uint32_t>(modules, 16), 20) == Bytes(20, 2));
}

TEST_CASE("files that cannot be read are refused by name") {
  const TemporaryFolder folder;
  Machine machine;
  const std::string missing = folder.Path("missing");
  CHECK(machine.Message({missing, "", ""}) == "kernel " + missing + ": No such file or directory");
  CHECK(machine.Message({folder.Path(""), "", ""}) == "kernel " + folder.Path("") + ": is a directory");
  const std::string empty = folder.Write("empty", {});
  CHECK(machine.Message({empty, "", ""}) == "kernel " + empty + ": is empty");
  const std::string fifo = folder.Path("fifo");
  REQUIRE(mkfifo(fifo.c_str(), 0600) == 0);
  CHECK(machine.Message({fifo, "", ""}) == "kernel " + fifo + ": is not a regular file");
  const std::string huge = folder.Write("huge", Bytes(1));
  std::filesystem::resize_file(huge, PhysicalMemory::kMaxRam + 1);
  CHECK(machine.Message({huge, "", ""}) == "kernel " + huge + ": is too large for any guest");

  const std::string kernel = folder.Write("vmlinuz", MakeBzImage({}));
  CHECK(machine.Message({kernel, missing, ""}) == "initrd " + missing + ": No such file or directory");
  const std::string elf = folder.Write("k.elf", SmallElf());
  CHECK(machine.Message({elf, missing + " args", ""}) == "initrd " + missing + ": No such file or directory");
}

TEST_CASE("an unreadable file is refused by name") {
  const TemporaryFolder folder;
  Machine machine;
  const std::string secret = folder.Write("secret", Bytes(1));
  REQUIRE(chmod(secret.c_str(), 0) == 0);
  // Root reads everything, so it becomes somebody else for the attempt.
  constexpr uid_t kNobody = 65534;
  const uid_t self = geteuid();
  if (self == 0) REQUIRE(seteuid(kNobody) == 0);
  const std::string message = machine.Message({secret, "", ""});
  if (self == 0) REQUIRE(seteuid(self) == 0);
  CHECK(message == "kernel " + secret + ": Permission denied");
}

TEST_CASE("what is no kernel is refused by name") {
  const TemporaryFolder folder;
  Machine machine;
  for (const size_t size : {1u, 511u, 512u, 4096u}) {
    const std::string text = folder.Write("text", Bytes(size, 'x'));
    CHECK(machine.Message({text, "", ""}) == text + " is not a kernel ring3 can boot (bzImage or Multiboot 1)");
  }
}

}  // namespace ring3
