// The machine's disks, CD-ROM drives and floppy drives, with their images.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "devices/block/async_disk.h"
#include "devices/ide/ata_disk.h"
#include "devices/ide/atapi_cdrom.h"
#include "devices/storage_controllers.h"
#include "monitor/storage/drive_options.h"

namespace ring3 {

/// Opens a drive's image and starts its thread. Throws UsageError.
std::unique_ptr<Disk> OpenDisk(const DriveOptions& drive, Mailbox& mailbox);

/// vCPU thread only. Drives with if=virtio and if=none are not its: their owners open them by OpenDisk().
class Storage {
 public:
  enum class Ejected : uint8_t { kDone, kLocked, kNotRemovable, kUnknown };
  /// What a drive is like now.
  struct DriveState {
    std::string id;
    DriveBus bus;
    bool removable, inserted, read_only, tray_open, locked;
    std::string file, format;  // empty without a medium
    uint64_t bytes;
  };

  /// Opens all images and attaches the controllers. `firmware`: it sets the hardware up. Throws UsageError.
  Storage(Board& board, PhysicalMemory& memory, Mailbox& mailbox, const std::vector<DriveOptions>& drives,
          bool firmware);
  /// After the board's.
  void Reset() { controllers_.Reset(); }

  std::vector<DriveState> Drives();
  /// Puts another medium into a removable drive; what was there goes, the guest's lock notwithstanding. Throws
  /// UsageError, for unknown drives too; then the old medium stays.
  void Insert(const std::string& id, const ImageSource& image);
  /// A locked CD-ROM drive asks the guest to open it, unless `force`.
  Ejected Eject(const std::string& id, bool force);
  /// Told when a tray opens or closes.
  void OnTray(std::function<void(const std::string& id, bool open)> moved) { tray_moved_ = std::move(moved); }

 private:
  struct Drive {
    DriveOptions options;
    std::unique_ptr<AtaDisk> disk;
    std::unique_ptr<AtapiCdrom> cdrom;
    FloppyDrive* floppy = nullptr;
  };
  void AddDrive(const DriveOptions& options);
  void AddDisk(Drive& drive);
  void AddCdrom(Drive& drive);
  void StoreDiskInCmos(const Drive& drive, BiosTranslation translation);
  void StoreFloppiesInCmos();
  Drive* Find(const std::string& id);

  Board& board_;
  Mailbox& mailbox_;
  std::vector<std::unique_ptr<Drive>> drives_;
  std::function<void(const std::string& id, bool open)> tray_moved_;
  uint8_t translations_ = 0, disk_types_ = 0;  // CMOS registers 39h and 12h
  StorageControllers controllers_;
};

}  // namespace ring3
