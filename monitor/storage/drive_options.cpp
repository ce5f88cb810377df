#include "monitor/storage/drive_options.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>

#include "monitor/cpu/fault.h"
#include "monitor/numbers.h"
#include "monitor/properties.h"

namespace ring3 {
namespace {

constexpr unsigned kIdeDrives = 4, kFloppyDrives = 2;
constexpr unsigned kUsualCdromIndex = 2;
constexpr size_t kLongestSerial = 20;

unsigned MostDrives(DriveBus bus) {
  if (bus == DriveBus::kIde) return kIdeDrives;
  if (bus == DriveBus::kFloppy) return kFloppyDrives;
  return 32;
}

const char* NameOf(DriveBus bus) {
  switch (bus) {
    case DriveBus::kIde:
      return "ide";
    case DriveBus::kFloppy:
      return "floppy";
    case DriveBus::kVirtio:
      return "virtio";
    case DriveBus::kNone:
      break;
  }
  return "none";
}

std::string UsualId(const DriveOptions& drive) {
  switch (drive.bus) {
    case DriveBus::kIde:
      return fmt::format("ide{}-{}{}", drive.index / 2, drive.media == DriveMedia::kCdrom ? "cd" : "hd",
                         drive.index % 2);
    case DriveBus::kFloppy:
      return fmt::format("floppy{}", drive.index);
    case DriveBus::kVirtio:
      return fmt::format("virtio{}", drive.index);
    case DriveBus::kNone:
      break;
  }
  return fmt::format("none{}", drive.index);
}

[[noreturn]] void BadProperty(const std::string& key, const std::string& value, const char* choices) {
  throw UsageError(fmt::format("-drive {}={}: say {}", key, value, choices));
}

bool ParseSwitch(const std::string& key, const std::string& value) {
  if (value == "on" || value == "yes" || value == "true" || value.empty()) return true;
  if (value == "off" || value == "no" || value == "false") return false;
  BadProperty(key, value, "on or off");
}

unsigned ParseIndex(const std::string& key, const std::string& value) {
  constexpr unsigned kLast = 31;
  return static_cast<unsigned>(ParseNumberOption("-drive " + key, value, 0, kLast));
}

void SetBus(DriveOptions& drive, const std::string& value) {
  for (const DriveBus bus : {DriveBus::kIde, DriveBus::kFloppy, DriveBus::kVirtio, DriveBus::kNone}) {
    if (value == NameOf(bus)) {
      drive.bus = bus;
      return;
    }
  }
  BadProperty("if", value, "ide, floppy, virtio or none");
}

void SetMedia(DriveOptions& drive, const std::string& value) {
  if (value != "disk" && value != "cdrom") BadProperty("media", value, "disk or cdrom");
  drive.media = value == "cdrom" ? DriveMedia::kCdrom : DriveMedia::kDisk;
}

void SetCache(DriveOptions& drive, const std::string& value) {
  if (value == "writeback" || value == "none") {
    drive.cache = CacheMode::kWriteBack;
  } else if (value == "writethrough" || value == "directsync") {
    drive.cache = CacheMode::kWriteThrough;
  } else if (value == "unsafe") {
    drive.cache = CacheMode::kUnsafe;
  } else {
    BadProperty("cache", value, "writeback, writethrough, directsync, none or unsafe");
  }
}

/// What QEMU's users may choose of how the host is asked, and here makes no difference.
bool IsHostDetail(const std::string& key, const std::string& value) {
  if (key == "aio") return value == "threads" || value == "native" || value == "io_uring";
  if (key == "discard") return value == "ignore" || value == "off" || value == "unmap" || value == "on";
  if (key == "detect-zeroes") return value == "off" || value == "on" || value == "unmap";
  return (key == "werror" || key == "rerror") && value == "report";
}

void CheckSerial(const std::string& serial) {
  if (serial.size() > kLongestSerial)
    throw UsageError(fmt::format("-drive serial={}: at most {} characters", serial, kLongestSerial));
}

}  // namespace

unsigned ParseBootIndex(const std::string& text) {
  constexpr unsigned kLast = 255;
  return static_cast<unsigned>(ParseNumberOption("bootindex", text, 0, kLast));
}

std::vector<std::pair<std::string, std::string>> SplitProperties(const std::string& text) {
  std::vector<std::pair<std::string, std::string>> properties;
  for (const std::string& part : SplitAtCommas(text)) {
    if (part.empty()) continue;
    const size_t equals = part.find('=');
    properties.emplace_back(part.substr(0, equals), equals == std::string::npos ? "" : part.substr(equals + 1));
  }
  return properties;
}

void DriveList::AddAt(DriveBus bus, unsigned index, DriveMedia media, const std::string& file) {
  Entry entry;
  entry.options.bus = bus;
  entry.options.media = media;
  entry.options.image.file = file;
  entry.index = index;
  drives_.push_back(entry);
}

void DriveList::AddDescribed(const std::string& text) {
  Entry entry;
  DriveOptions& drive = entry.options;
  std::optional<unsigned> bus, unit;
  for (const auto& [key, value] : SplitProperties(text)) {
    if (key == "file") {
      drive.image.file = value;
    } else if (key == "if") {
      SetBus(drive, value);
    } else if (key == "index") {
      entry.index = ParseIndex(key, value);
    } else if (key == "bus") {
      bus = ParseIndex(key, value);
    } else if (key == "unit") {
      unit = ParseIndex(key, value);
    } else if (key == "media") {
      SetMedia(drive, value);
    } else if (key == "format") {
      drive.image.format = ParseFormat(value);
    } else if (key == "readonly" || key == "read-only") {
      drive.image.read_only = ParseSwitch(key, value);
    } else if (key == "snapshot") {
      drive.image.snapshot = ParseSwitch(key, value);
      entry.snapshot_given = true;
    } else if (key == "id") {
      drive.id = value;
    } else if (key == "serial") {
      drive.serial = value;
    } else if (key == "cache") {
      SetCache(drive, value);
    } else if (key == "bootindex") {
      drive.boot_index = ParseBootIndex(value);
    } else if (!IsHostDetail(key, value)) {
      throw UsageError(
          fmt::format("-drive has no property '{}' (file, if, index, bus, unit, media, format, readonly, "
                      "snapshot, id, serial, cache, bootindex)",
                      key));
    }
  }
  if (bus || unit) {
    if (entry.index) throw UsageError("-drive: say index= or bus= and unit=, not both");
    entry.index = bus.value_or(0) * 2 + unit.value_or(0);
  }
  CheckSerial(drive.serial);
  if (drive.media == DriveMedia::kCdrom && drive.bus != DriveBus::kIde && drive.bus != DriveBus::kNone)
    throw UsageError(fmt::format("-drive if={},media=cdrom: CD-ROM drives are on if=ide", NameOf(drive.bus)));
  if (drive.image.file.empty() && !drive.Removable()) throw UsageError("-drive: a disk needs file=");
  drives_.push_back(entry);
}

bool DriveList::IsDevice(const std::string& name) { return name == "ide-hd" || name == "ide-cd" || name == "floppy"; }

DriveList::Entry& DriveList::FindUnplaced(const std::string& id) {
  for (Entry& entry : drives_) {
    if (entry.options.bus == DriveBus::kNone && entry.options.id == id) return entry;
  }
  throw UsageError(fmt::format("--device: there is no --drive with if=none and id={}", id));
}

void DriveList::AddDevice(const std::string& text) {
  Properties properties("--device", text);
  const bool floppy = properties.First() == "floppy", cdrom = properties.First() == "ide-cd";
  const auto drive = properties.Take("drive"), bus = properties.Take("bus"), unit = properties.Take("unit");
  const auto serial = properties.Take("serial"), place = properties.Take("bootindex");
  properties.Take("id");
  properties.ExpectNothingElse("drive, bus, unit, serial, bootindex, id");
  if (!drive && !floppy && !cdrom) properties.Refuse("it needs drive=ID of a --drive with if=none");
  unsigned channel = 0;
  if (bus && !floppy) {
    if (*bus != "ide.0" && *bus != "ide.1") properties.Refuse(fmt::format("bus={}: say ide.0 or ide.1", *bus));
    channel = bus->back() == '1' ? 1 : 0;
  }
  if (serial) CheckSerial(*serial);
  const unsigned number = unit ? ParseIndex("unit", *unit) : 0;
  const std::optional<unsigned> boot_index = place ? std::optional(ParseBootIndex(*place)) : std::nullopt;
  Entry& entry = drive ? FindUnplaced(*drive) : drives_.emplace_back();
  entry.options.bus = floppy ? DriveBus::kFloppy : DriveBus::kIde;
  entry.options.media = cdrom ? DriveMedia::kCdrom : DriveMedia::kDisk;
  entry.options.boot_index = boot_index;
  if (serial) entry.options.serial = *serial;
  if (bus || unit) entry.index = channel * 2 + number;
}

std::vector<DriveOptions> DriveList::Finish(bool snapshot, bool defaults) const {
  std::set<std::pair<DriveBus, unsigned>> taken;
  std::set<std::string> ids;
  const auto take = [&taken](DriveOptions& drive, unsigned index) {
    drive.index = index;
    if (index >= MostDrives(drive.bus))
      throw UsageError(
          fmt::format("if={} has no index {} (0 to {})", NameOf(drive.bus), index, MostDrives(drive.bus) - 1));
    if (!taken.insert({drive.bus, index}).second)
      throw UsageError(fmt::format("two drives for if={},index={}", NameOf(drive.bus), index));
  };
  std::vector<DriveOptions> drives;
  for (const Entry& entry : drives_) {  // those that say where they belong come first
    drives.push_back(entry.options);
    if (snapshot && !entry.snapshot_given) drives.back().image.snapshot = true;
    if (entry.index) take(drives.back(), *entry.index);
  }
  for (size_t i = 0; i < drives_.size(); ++i) {
    if (drives_[i].index) continue;
    const bool cdrom = drives[i].bus == DriveBus::kIde && drives[i].media == DriveMedia::kCdrom;
    unsigned index = cdrom && !taken.contains({DriveBus::kIde, kUsualCdromIndex}) ? kUsualCdromIndex : 0;
    while (taken.contains({drives[i].bus, index})) ++index;
    take(drives[i], index);
  }
  const auto add_empty = [&](DriveBus bus, unsigned index, DriveMedia media) {
    DriveOptions drive{.bus = bus, .index = index, .media = media};
    if (taken.insert({bus, index}).second) drives.push_back(drive);
  };
  const auto is_cdrom = [](const DriveOptions& drive) { return drive.media == DriveMedia::kCdrom; };
  if (defaults && std::none_of(drives.begin(), drives.end(), is_cdrom))
    add_empty(DriveBus::kIde, kUsualCdromIndex, DriveMedia::kCdrom);
  if (defaults) add_empty(DriveBus::kFloppy, 0, DriveMedia::kDisk);
  for (DriveOptions& drive : drives) {
    if (drive.id.empty()) drive.id = UsualId(drive);
    if (!ids.insert(drive.id).second) throw UsageError(fmt::format("two drives with id={}", drive.id));
    if (drive.media == DriveMedia::kCdrom) drive.image.read_only = true;
  }
  return drives;
}

}  // namespace ring3
