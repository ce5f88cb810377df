#include "monitor/net/boot_rom.h"

#include <fmt/core.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "monitor/cpu/fault.h"

namespace ring3 {
namespace {

// The header of an expansion ROM, and the PCI data structure that it points to.
constexpr uint16_t kSignature = 0xAA55;
constexpr size_t kChecksumFixAt = 6, kDataPointerAt = 0x18, kHeaderBytes = 0x1A;
constexpr char kDataSignature[] = "PCIR";
constexpr size_t kVendorAt = 4, kIdBytes = 4, kDataBytes = 24;

const char* UsualRom(CardModel model) {
  switch (model) {
    case CardModel::kNe2000:
      return "/usr/lib/ipxe/qemu/pxe-ne2k_pci.rom";
    case CardModel::kVirtioNet:
      return "/usr/lib/ipxe/qemu/pxe-virtio.rom";
    default:
      return "/usr/lib/ipxe/qemu/pxe-rtl8139.rom";
  }
}

/// All bytes of an image add up to 0: what the identity adds is taken back elsewhere.
void SetIdentity(std::vector<uint8_t>& rom, const PciDevice& function) {
  if (rom.size() < kHeaderBytes || (rom[0] | rom[1] << 8) != kSignature) return;
  const size_t data = rom[kDataPointerAt] | size_t{rom[kDataPointerAt + 1]} << 8;
  if (data + kDataBytes > rom.size()) return;
  if (!std::equal(kDataSignature, kDataSignature + 4, rom.begin() + static_cast<ptrdiff_t>(data))) return;
  for (size_t i = 0; i < kIdBytes; ++i) {
    uint8_t& byte = rom[data + kVendorAt + i];
    const auto wanted = static_cast<uint8_t>(function.ReadConfig(static_cast<uint8_t>(pci::kVendorId + i), 1));
    rom[kChecksumFixAt] = static_cast<uint8_t>(rom[kChecksumFixAt] + byte - wanted);
    byte = wanted;
  }
}

}  // namespace

std::vector<uint8_t> ReadBootRom(const ExpansionCard& card, const PciDevice& function) {
  const std::string path = card.rom_file.value_or(UsualRom(card.model));
  if (path.empty()) return {};
  std::ifstream file(path, std::ios::binary);
  std::vector<uint8_t> rom{std::istreambuf_iterator<char>(file), {}};
  if (card.rom_file && rom.empty()) throw UsageError(fmt::format("romfile={}: it cannot be read, or is empty", path));
  if (rom.size() > PciDevice::kMostRomBytes) throw UsageError(fmt::format("romfile={}: it is too large", path));
  SetIdentity(rom, function);
  return rom;
}

}  // namespace ring3
