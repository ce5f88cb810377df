#include "monitor/boot_order.h"

#include <fmt/core.h>

#include "devices/layout.h"
#include "monitor/cpu/fault.h"

namespace ring3 {
namespace {

constexpr char kPciRoot[] = "/pci@i0cf8";

std::string PathOf(const DriveOptions& drive) {
  if (drive.bus == DriveBus::kFloppy) {
    return fmt::format("{}/isa@{:x}/fdc@{:04x}/floppy@{:x}", kPciRoot, layout::kSouthBridgeSlot, layout::kFloppyPort,
                       drive.index);
  }
  return fmt::format("{}/ide@{:x},{:x}/drive@{:x}/disk@{:x}", kPciRoot, layout::kSouthBridgeSlot, layout::kIdeFunction,
                     drive.index / 2, drive.index % 2);
}

}  // namespace

void BootOrder::Add(unsigned index, const std::string& path) {
  if (!paths_.emplace(index, path).second) throw UsageError(fmt::format("bootindex={}: two devices have it", index));
}

void BootOrder::AddDrives(const std::vector<DriveOptions>& drives) {
  for (const DriveOptions& drive : drives) {
    const bool ours = drive.bus == DriveBus::kIde || drive.bus == DriveBus::kFloppy;
    if (ours && drive.boot_index) Add(*drive.boot_index, PathOf(drive));
  }
}

std::vector<uint8_t> BootOrder::File(bool strict) const {
  std::string text;
  for (const auto& [index, path] : paths_) text += (text.empty() ? "" : "\n") + path;
  if (strict) text += text.empty() ? "HALT" : "\nHALT";
  if (text.empty()) return {};
  std::vector<uint8_t> file(text.begin(), text.end());
  file.push_back(0);
  return file;
}

std::string PciBootPath(const std::string& kind, unsigned slot, const std::string& unit) {
  return fmt::format("{}/{}@{:x}/{}", kPciRoot, kind, slot, unit);
}

}  // namespace ring3
