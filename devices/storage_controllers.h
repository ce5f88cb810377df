// The PC's disk controllers, wired to a board: PIIX3 IDE and 82077AA floppy.
#pragma once

#include <array>

#include "devices/board.h"
#include "devices/floppy/floppy_controller.h"
#include "devices/ide/piix_ide.h"

namespace ring3 {

class StorageControllers {
 public:
  /// Attaches everything to a board that has memory. `set_up`: as firmware leaves it, not as after RESET#.
  StorageControllers(Board& board, PhysicalMemory& memory,
                     std::array<FloppyDriveType, FloppyController::kDriveCount> floppies, bool set_up);
  StorageControllers(const StorageControllers&) = delete;

  PiixIde& Ide() { return ide_; }
  FloppyController& Floppy() { return floppy_; }
  /// After the board's.
  void Reset();

 private:
  void AttachPorts(PortBus& ports);
  void SetUp();

  Board& board_;
  const bool set_up_;
  PiixIde ide_;
  FloppyController floppy_;
};

}  // namespace ring3
