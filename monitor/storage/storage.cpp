#include "monitor/storage/storage.h"

#include <fmt/core.h>

#include "monitor/cpu/fault.h"

namespace ring3 {
namespace {

// CMOS RAM, as BIOSes of the PC/AT keep it.
constexpr uint8_t kFloppyTypes = 0x10, kDiskTypes = 0x12, kExtendedType = 0x19, kGeometry = 0x1B, kTranslations = 0x39,
                  kEquipment = 0x14;
constexpr uint8_t kUserDefined = 0x0F, kUserDefinedExtended = 47;
constexpr unsigned kGeometryBytes = 9;
constexpr uint8_t kFpuAndMouse = 0x06, kFloppyPresent = 0x01, kSecondFloppy = 0x40;

constexpr char kFirmwareRevision[] = "1.0";

/// What the drive is sold as: the first diskette decides.
std::array<FloppyDriveType, FloppyController::kDriveCount> FloppyTypes(const std::vector<DriveOptions>& drives) {
  std::array<FloppyDriveType, FloppyController::kDriveCount> types = {};
  for (const DriveOptions& drive : drives) {
    if (drive.bus != DriveBus::kFloppy) continue;
    types.at(drive.index) = FloppyDriveType::k1440K;
    if (drive.image.file.empty()) continue;
    ImageSource look = drive.image;
    look.read_only = true;
    types.at(drive.index) = FormatOfFloppy(OpenImage(look)->SizeBytes()).drive;
  }
  return types;
}

std::string SerialOf(const DriveOptions& drive) {
  return drive.serial.empty() ? fmt::format("R3{:05}", drive.index + 1) : drive.serial;
}

/// Read before the disk's thread owns the image.
std::vector<uint8_t> FirstSector(Image& image) {
  std::vector<uint8_t> sector(kSectorBytes);
  try {
    image.Read(0, sector);
  } catch (const ImageError& error) {
    throw UsageError(error.what());
  }
  return sector;
}

std::unique_ptr<Disk> StartDisk(std::unique_ptr<Image> image, const DriveOptions& drive, Mailbox& mailbox) {
  return std::make_unique<AsyncDisk>(std::move(image), drive.id, mailbox, drive.cache == CacheMode::kWriteThrough,
                                     drive.cache == CacheMode::kUnsafe);
}

}  // namespace

std::unique_ptr<Disk> OpenDisk(const DriveOptions& drive, Mailbox& mailbox) {
  return StartDisk(OpenImage(drive.image), drive, mailbox);
}

Storage::Storage(Board& board, PhysicalMemory& memory, Mailbox& mailbox, const std::vector<DriveOptions>& drives,
                 bool firmware)
    : board_(board), mailbox_(mailbox), controllers_(board, memory, FloppyTypes(drives), !firmware) {
  for (const DriveOptions& options : drives) {
    if (options.bus == DriveBus::kIde || options.bus == DriveBus::kFloppy) AddDrive(options);
  }
  board_.Rtc().SetCmos(kTranslations, translations_);
  StoreFloppiesInCmos();
}

void Storage::AddDrive(const DriveOptions& options) {
  drives_.push_back(std::make_unique<Drive>(Drive{.options = options}));
  Drive& drive = *drives_.back();
  if (options.bus == DriveBus::kFloppy) {
    drive.floppy = &controllers_.Floppy().Drive(options.index);
    if (!options.image.file.empty()) drive.floppy->Insert(OpenDisk(options, mailbox_));
  } else if (options.media == DriveMedia::kCdrom) {
    AddCdrom(drive);
  } else {
    AddDisk(drive);
  }
}

void Storage::AddDisk(Drive& drive) {
  const DriveOptions& options = drive.options;
  std::unique_ptr<Image> image = OpenImage(options.image);
  const DiskShape shape = ShapeOfDisk(image->SizeBytes() / kSectorBytes, FirstSector(*image));
  drive.disk = std::make_unique<AtaDisk>(
      StartDisk(std::move(image), options, mailbox_), shape.physical,
      AtaDisk::Identity{.model = "RING3 HARDDISK", .serial = SerialOf(options), .firmware = kFirmwareRevision});
  controllers_.Ide().Channel(options.index / 2).Attach(options.index % 2, *drive.disk);
  StoreDiskInCmos(drive, shape.translation);
}

void Storage::AddCdrom(Drive& drive) {
  const DriveOptions& options = drive.options;
  drive.cdrom = std::make_unique<AtapiCdrom>(
      AtapiCdrom::Identity{.model = "RING3 CD-ROM", .serial = SerialOf(options), .firmware = kFirmwareRevision});
  controllers_.Ide().Channel(options.index / 2).Attach(options.index % 2, *drive.cdrom);
  if (!options.image.file.empty()) drive.cdrom->Insert(OpenDisk(options, mailbox_));
  drive.cdrom->OnTray([this, &drive](bool open) {
    if (tray_moved_) tray_moved_(drive.options.id, open);
  });
}

/// Types and geometries exist for the first two disks only; translations for all four.
void Storage::StoreDiskInCmos(const Drive& drive, BiosTranslation translation) {
  const unsigned index = drive.options.index;
  translations_ = static_cast<uint8_t>(translations_ | static_cast<unsigned>(translation) << (2 * index));
  if (index > 1) return;
  Rtc146818& rtc = board_.Rtc();
  const auto types = static_cast<uint8_t>(kUserDefined << (index == 0 ? 4 : 0));
  disk_types_ = static_cast<uint8_t>(disk_types_ | types);
  rtc.SetCmos(kDiskTypes, disk_types_);
  rtc.SetCmos(static_cast<uint8_t>(kExtendedType + index), kUserDefinedExtended);
  const DiskGeometry& geometry = drive.disk->Geometry();
  const uint8_t bytes[kGeometryBytes] = {static_cast<uint8_t>(geometry.cylinders),
                                         static_cast<uint8_t>(geometry.cylinders >> 8),
                                         static_cast<uint8_t>(geometry.heads),
                                         0xFF,  // write precompensation: none
                                         0xFF,
                                         static_cast<uint8_t>(geometry.heads > 8 ? 0xC8 : 0xC0),
                                         static_cast<uint8_t>(geometry.cylinders),
                                         static_cast<uint8_t>(geometry.cylinders >> 8),
                                         static_cast<uint8_t>(geometry.sectors)};
  for (unsigned i = 0; i < kGeometryBytes; ++i) {
    rtc.SetCmos(static_cast<uint8_t>(kGeometry + index * kGeometryBytes + i), bytes[i]);
  }
}

void Storage::StoreFloppiesInCmos() {
  const auto type = [this](unsigned index) { return static_cast<unsigned>(controllers_.Floppy().Drive(index).Type()); };
  board_.Rtc().SetCmos(kFloppyTypes, static_cast<uint8_t>(type(0) << 4 | type(1)));
  uint8_t equipment = kFpuAndMouse;
  if (type(0) || type(1)) equipment |= kFloppyPresent;
  if (type(0) && type(1)) equipment |= kSecondFloppy;
  board_.Rtc().SetCmos(kEquipment, equipment);
}

Storage::Drive* Storage::Find(const std::string& id) {
  for (const auto& drive : drives_)
    if (drive->options.id == id) return drive.get();
  return nullptr;
}

std::vector<Storage::DriveState> Storage::Drives() {
  std::vector<DriveState> states;
  for (const auto& drive : drives_) {
    DriveState state{.id = drive->options.id, .bus = drive->options.bus, .removable = drive->options.Removable()};
    if (drive->disk) {
      state.inserted = true;
      state.bytes = drive->disk->GetDisk().SizeBytes();
      state.read_only = drive->disk->GetDisk().ReadOnly();
    } else if (drive->cdrom) {
      state.inserted = drive->cdrom->HasDisc();
      state.bytes = drive->cdrom->DiscBytes();
      state.read_only = true;
      state.tray_open = drive->cdrom->TrayOpen();
      state.locked = drive->cdrom->Locked();
    } else {
      state.inserted = drive->floppy->Slot().Present();
      state.bytes = drive->floppy->Slot().SizeBytes();
      state.read_only = drive->floppy->Slot().ReadOnly();
    }
    if (state.inserted) {
      state.file = drive->options.image.file;
      state.format = FormatOfImage(drive->options.image) == ImageFormat::kQcow2 ? "qcow2" : "raw";
    }
    states.push_back(state);
  }
  return states;
}

void Storage::Insert(const std::string& id, const ImageSource& image) {
  Drive* const drive = Find(id);
  if (!drive || !drive->options.Removable()) {
    throw UsageError(fmt::format("{} '{}'", drive ? "nothing can be changed in drive" : "there is no drive", id));
  }
  DriveOptions changed = drive->options;
  changed.image = image;
  if (drive->cdrom) changed.image.read_only = true;
  // A file is not opened twice: the old medium goes first where it is the same.
  if (drive->floppy && image.file == drive->options.image.file) drive->floppy->Eject();
  std::unique_ptr<Disk> disk = OpenDisk(changed, mailbox_);
  drive->cdrom ? drive->cdrom->Insert(std::move(disk)) : drive->floppy->Insert(std::move(disk));
  drive->options = changed;
}

Storage::Ejected Storage::Eject(const std::string& id, bool force) {
  Drive* const drive = Find(id);
  if (!drive) return Ejected::kUnknown;
  if (!drive->options.Removable()) return Ejected::kNotRemovable;
  if (drive->floppy) {
    drive->floppy->Eject();
    return Ejected::kDone;
  }
  return drive->cdrom->Eject(force) ? Ejected::kDone : Ejected::kLocked;
}

}  // namespace ring3
