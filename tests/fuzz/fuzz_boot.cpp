// Kernels, initial RAM disks and command lines: damaged or not, they are refused with a message, or lie in the guest's
// memory as the boot protocols say.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "monitor/boot/loader.h"
#include "monitor/boot/memory_map.h"
#include "monitor/boot/multiboot.h"
#include "monitor/cpu/fault.h"
#include "tests/fuzz/input.h"

namespace ring3::fuzz {
namespace {

constexpr uint32_t kMegabyte = 1u << 20;

/// A file without a folder to leave behind.
class MemoryFile {
 public:
  explicit MemoryFile(const char* name) : fd_(memfd_create(name, MFD_CLOEXEC)) {}
  ~MemoryFile() { close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  std::string Path() const { return "/proc/self/fd/" + std::to_string(fd_); }
  void Set(std::span<const uint8_t> bytes) {
    Require(ftruncate(fd_, 0) == 0 && pwrite(fd_, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()),
            "the file cannot be written");
  }

 private:
  int fd_;
};

struct Files {
  MemoryFile kernel{"kernel"}, initrd{"initrd"};
};

class Trial {
 public:
  Trial(Input& input, Files& files) : memory_(MemorySize(input)), initrd_(InitrdSize(input)) {
    for (size_t i = 0; i < initrd_.size(); ++i) initrd_[i] = static_cast<uint8_t>(i * 31 + (i >> 8) + 1);
    options_.command_line.assign(input.Take<uint16_t>() % 5000, 'c');
    const bool text = input.Bit();  // the list of modules, as the user gives it
    const auto words = input.TakeBytes(text ? input.Byte() : 0);
    const size_t padding = input.Take<uint16_t>();
    const auto file = input.Rest();
    kernel_.assign(file.begin(), file.end());
    kernel_.resize(kernel_.size() + padding);
    options_.kernel = files.kernel.Path();
    files.kernel.Set(kernel_);
    files.initrd.Set(initrd_);
    if (!initrd_.empty() || text) options_.initrd = files.initrd.Path();
    for (const uint8_t c : words)
      options_.initrd += c == '@' ? files.initrd.Path() : std::string(1, static_cast<char>(c));
  }

  void Run() {
    cpu_.Reset();
    try {
      LoadGuest(options_, memory_, cpu_);
    } catch (const UsageError& error) {
      Require(error.what()[0] != '\0', "refused without a message");
      return;
    }
    map_ = BuildMemoryMap(memory_.RamBytes());
    Require(cpu_.ProtectedMode() && !cpu_.Paging() && cpu_.Code32(), "entered in the wrong mode");
    Require(!(cpu_.eflags & eflags::kIf), "entered with interrupts on");
    Require(cpu_.eip < memory_.RamBytes(), "the entry lies outside of RAM");
    cpu_.gpr[kEax] == kMultibootLoaderMagic ? CheckMultiboot() : CheckLinux();
  }

 private:
  static uint64_t MemorySize(Input& input) {
    constexpr uint32_t kPages[] = {256, 257, 512, 1024, 2048, 4096, 4097, 16384};
    return uint64_t{kPages[input.Below(8)]} * kPageSize;
  }
  static size_t InitrdSize(Input& input) {
    const uint8_t kind = input.Byte();
    if (kind < 64) return 0;
    const uint32_t size = input.Take<uint16_t>();
    return kind < 200 ? size : std::min(size * 64u, 4 * kMegabyte);
  }

  template <class T>
  T Get(uint64_t address) {
    Require(address + sizeof(T) <= memory_.RamBytes(), "a structure leads outside of RAM");
    return LoadField<T>({memory_.Flat(GuestPhysical(address)), sizeof(T)}, 0);
  }
  bool Holds(uint64_t address, std::span<const uint8_t> bytes) {
    return address + bytes.size() <= memory_.RamBytes() &&
           std::equal(bytes.begin(), bytes.end(), memory_.Flat(GuestPhysical(address)));
  }
  void CheckText(uint64_t address, const std::string& text) {
    Require(Holds(address, {reinterpret_cast<const uint8_t*>(text.c_str()), text.size() + 1}),
            "the command line is not as given");
  }

  void CheckLinux() {
    const uint64_t zero_page = cpu_.gpr[kEsi];
    CheckText(Get<uint32_t>(zero_page + 0x228), options_.command_line);
    const uint64_t image = Get<uint32_t>(zero_page + 0x218), size = Get<uint32_t>(zero_page + 0x21C);
    Require(size == initrd_.size(), "the initrd has another size");
    if (!size) return;
    Require(Holds(image, initrd_), "the initrd is not where the zero page says");
    Require(IsUsable(map_, image, size), "the initrd lies where no RAM is reported");
    const BzImage header = ParseBzImage({"kernel", kernel_});
    Require(image >= header.memory_end || image + size <= header.load_address, "the initrd overlaps the kernel");
    Require(image + size - 1 <= header.max_initrd, "the initrd lies too high for the kernel");
  }

  void CheckMultiboot() {
    const uint64_t info = cpu_.gpr[kEbx];
    const uint32_t flags = Get<uint32_t>(info);
    Require(flags & 1u << 6, "there is no memory map");
    const MultibootImage image = ParseMultiboot({"kernel", kernel_});
    for (const MultibootSegment& segment : image.segments) {
      Require(Holds(segment.address, segment.bytes), "a segment is not where it belongs");
    }
    if (!(flags & 1u << 3)) return;
    const uint32_t count = Get<uint32_t>(info + 20);
    const uint64_t table = Get<uint32_t>(info + 24);
    for (uint32_t i = 0; i < count; ++i) {
      const uint64_t first = Get<uint32_t>(table + 16 * i), end = Get<uint32_t>(table + 16 * i + 4);
      Require(end - first == initrd_.size() && Holds(first, initrd_), "a module is not where the table says");
      Require(IsUsable(map_, first, end - first), "a module lies where no RAM is reported");
      for (const MultibootSegment& segment : image.segments) {
        Require(end <= segment.address || first >= segment.End(), "a module overlaps the kernel");
      }
    }
  }

  PhysicalMemory memory_;
  Bytes initrd_, kernel_;
  BootOptions options_;
  CpuState cpu_;
  std::vector<MemoryRegion> map_;
};

}  // namespace

void Run(Input input) {
  static Files files;
  Trial(input, files).Run();
}

}  // namespace ring3::fuzz
