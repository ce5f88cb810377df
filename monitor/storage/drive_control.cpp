#include "monitor/storage/drive_control.h"

#include <fmt/core.h>

#include "monitor/cpu/fault.h"

namespace ring3 {

StorageControl::StorageControl(Storage& storage, MachineControl& control) : storage_(storage) {
  control.SetDrives(this);
  storage.OnTray([&control](const std::string& id, bool open) {
    control.Tell([&](ControlListener& listener) { listener.TrayMoved(id, open); });
  });
}

std::vector<DriveInfo> StorageControl::Drives() {
  std::vector<DriveInfo> drives;
  for (const Storage::DriveState& state : storage_.Drives()) {
    drives.push_back({.name = state.id,
                      .file = state.file,
                      .format = state.format,
                      .bytes = state.bytes,
                      .read_only = state.read_only,
                      .removable = state.removable,
                      .locked = state.locked,
                      .tray_open = state.tray_open});
  }
  return drives;
}

void StorageControl::Change(const std::string& drive, const std::string& file, const std::string& format,
                            bool read_only) {
  try {
    storage_.Insert(drive, {.file = file, .format = ParseFormat(format), .read_only = read_only});
  } catch (const UsageError& error) {
    throw ControlError(error.what());
  }
}

void StorageControl::Eject(const std::string& drive, bool force) {
  switch (storage_.Eject(drive, force)) {
    case Storage::Ejected::kDone:
      return;
    case Storage::Ejected::kLocked:
      throw ControlError(
          fmt::format("Device '{}' is locked and force was not specified, wait for tray to open", drive));
    case Storage::Ejected::kNotRemovable:
      throw ControlError(fmt::format("Device '{}' is not removable", drive));
    case Storage::Ejected::kUnknown:
      throw DeviceNotFound(fmt::format("Device '{}' not found", drive));
  }
}

}  // namespace ring3
