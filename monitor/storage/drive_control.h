// The drives as the control protocols see them.
#pragma once

#include "monitor/control/machine_control.h"
#include "monitor/storage/storage.h"

namespace ring3 {

/// Introduces the drives to `control`, and tells it of trays that move. Both outlive this.
class StorageControl final : public DriveControl {
 public:
  StorageControl(Storage& storage, MachineControl& control);

  std::vector<DriveInfo> Drives() override;
  void Change(const std::string& drive, const std::string& file, const std::string& format, bool read_only) override;
  void Eject(const std::string& drive, bool force) override;

 private:
  Storage& storage_;
};

}  // namespace ring3
