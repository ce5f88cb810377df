#include "monitor/boot/bios.h"

#include <algorithm>
#include <cstring>

#include "monitor/boot/guest_file.h"
#include "monitor/boot/memory_map.h"
#include "monitor/cpu/fault.h"

namespace ring3 {
namespace {

constexpr uint64_t kBlock = 64u << 10;
constexpr uint64_t kMostInFirstMebibyte = 128u << 10;

void InstallRom(const uint8_t* bytes, uint64_t size, uint64_t end, PhysicalMemory& memory) {
  std::memcpy(memory.Flat(GuestPhysical(end - size)), bytes, size);
}

}  // namespace

Bytes ReadBios(const std::string& path) {
  Bytes image = ReadGuestFile("bios", path);
  if (image.size() % kBlock != 0 || image.size() > PhysicalMemory::kMaxRom) {
    throw UsageError("bios " + path + ": has " + std::to_string(image.size()) +
                     " bytes; a ROM image has 64, 128, 192 or 256 KiB");
  }
  return image;
}

void InstallBios(const Bytes& image, PhysicalMemory& memory) {
  InstallRom(image.data(), image.size(), PhysicalMemory::kRomEnd, memory);
  const uint64_t low = std::min<uint64_t>(image.size(), kMostInFirstMebibyte);
  InstallRom(image.data() + image.size() - low, low, boot_layout::kHighMemory, memory);
  memory.SetKind(GuestPhysical(boot_layout::kHighMemory - low), low, PageKind::kRom);
}

}  // namespace ring3
