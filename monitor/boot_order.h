// What firmware boots from, in order: fw_cfg's "bootorder" file (SeaBIOS, docs on runtime configuration; QEMU's
// bootindex).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "monitor/storage/drive_options.h"

namespace ring3 {

class BootOrder {
 public:
  /// `path` is the device's Open Firmware path. Throws UsageError when the place is taken.
  void Add(unsigned index, const std::string& path);
  /// The IDE and floppy drives that have a place.
  void AddDrives(const std::vector<DriveOptions>& drives);
  /// A line for each device, the last one ended by NUL; with `strict` nothing else is tried. Empty: no order.
  std::vector<uint8_t> File(bool strict) const;

 private:
  std::map<unsigned, std::string> paths_;
};

/// A card in a slot of PCI bus 0; `kind` is "ethernet" or "scsi", `unit` what is behind it.
std::string PciBootPath(const std::string& kind, unsigned slot, const std::string& unit);

}  // namespace ring3
