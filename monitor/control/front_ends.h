// What the control protocols ask of parts of the machine that need not be there: drives with media, and a screen.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace ring3 {

/// A request that cannot be met; the message is for the user.
struct ControlError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
/// The request names a device that is not there.
struct DeviceNotFound : ControlError {
  using ControlError::ControlError;
};

/// A stream of bytes between host and guest, or host and monitor.
struct CharacterDevice {
  std::string label, file;  // serial0, stdio
};

struct DriveInfo {
  std::string name;  // as QEMU calls it: ide1-cd0, floppy0
  std::string file;  // empty: no medium
  std::string format;
  uint64_t bytes = 0;
  bool read_only = false, removable = false, locked = false, tray_open = false;
};

/// The drives. vCPU thread. Failures are ControlErrors.
class DriveControl {
 public:
  virtual ~DriveControl() = default;
  virtual std::vector<DriveInfo> Drives() = 0;
  /// Replaces the medium. An empty format: found out by looking.
  virtual void Change(const std::string& drive, const std::string& file, const std::string& format, bool read_only) = 0;
  virtual void Eject(const std::string& drive, bool force) = 0;
};

/// The screen. vCPU thread. Failures are ControlErrors.
class ScreenControl {
 public:
  virtual ~ScreenControl() = default;
  /// "ppm" or "png".
  virtual void Save(const std::string& file, const std::string& format) = 0;
  /// The screen as lines of text, in UTF-8.
  virtual std::string Text() = 0;
};

}  // namespace ring3
