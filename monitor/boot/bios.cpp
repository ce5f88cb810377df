#include "monitor/boot/bios.h"

#include <cstring>

#include "monitor/boot/guest_file.h"
#include "monitor/cpu/fault.h"

namespace ring3 {
namespace {

constexpr uint64_t kBlock = 64u << 10;

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
  std::memcpy(memory.Flat(GuestPhysical(PhysicalMemory::kRomEnd - image.size())), image.data(), image.size());
}

}  // namespace ring3
