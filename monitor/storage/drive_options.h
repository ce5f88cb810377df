// Drives as the command line describes them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "devices/block/open_image.h"

namespace ring3 {

enum class DriveBus : uint8_t { kIde, kFloppy, kVirtio, kNone };
enum class DriveMedia : uint8_t { kDisk, kCdrom };
/// When the host's disk has what the guest writes.
enum class CacheMode : uint8_t { kWriteBack, kWriteThrough, kUnsafe };

struct DriveOptions {
  DriveBus bus = DriveBus::kIde;
  unsigned index = 0;  // IDE: 0 and 1 on the primary channel, 2 and 3 on the secondary
  DriveMedia media = DriveMedia::kDisk;
  std::string id;                      // what QMP calls it: "ide0-hd0", unless given
  std::string serial;                  // empty: one of ours
  std::optional<unsigned> boot_index;  // its place among what firmware boots from
  CacheMode cache = CacheMode::kWriteBack;
  ImageSource image;  // an empty file name: no medium

  bool Removable() const { return bus == DriveBus::kFloppy || media == DriveMedia::kCdrom; }
};

/// What is asked for, word by word; Finish() gives places to what has none.
class DriveList {
 public:
  /// --fda and the like. Throws UsageError when the place is taken.
  void AddAt(DriveBus bus, unsigned index, DriveMedia media, const std::string& file);
  /// -drive's argument: file=F,if=ide|floppy|virtio|none,index=N,media=disk|cdrom,format=raw|qcow2,readonly=on|off,
  /// snapshot=on|off,id=NAME,serial=TEXT,cache=MODE. Two commas stand for one. Throws UsageError.
  void AddDescribed(const std::string& text);
  /// -device's argument for a drive of if=none: ide-hd|ide-cd|floppy,drive=ID,bus=ide.0|ide.1,unit=N,serial=TEXT,
  /// bootindex=N. Throws UsageError.
  void AddDevice(const std::string& text);
  /// Whether AddDevice() knows the device of this name.
  static bool IsDevice(const std::string& name);
  static constexpr const char* kDeviceNames = "ide-hd, ide-cd, floppy";
  /// All drives: with `snapshot`, each writable one is a snapshot; with `defaults`, an empty CD-ROM drive and an empty
  /// floppy drive where a PC has them. Throws UsageError.
  std::vector<DriveOptions> Finish(bool snapshot, bool defaults) const;
  bool Empty() const { return drives_.empty(); }

 private:
  struct Entry {
    DriveOptions options;
    std::optional<unsigned> index;
    bool snapshot_given = false;
  };
  Entry& FindUnplaced(const std::string& id);

  std::vector<Entry> drives_;
};

/// A number from 0 to 255. Throws UsageError.
unsigned ParseBootIndex(const std::string& text);

/// Splits "key=value,key=value"; two commas stand for one, a key without a value has an empty one.
std::vector<std::pair<std::string, std::string>> SplitProperties(const std::string& text);

}  // namespace ring3
