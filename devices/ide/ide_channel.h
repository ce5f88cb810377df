// An IDE channel: its registers, up to two drives, one interrupt line (ATA/ATAPI-6, T13/1410D, chapters 7 and 9).
#pragma once

#include <array>
#include <cstdint>

#include "devices/ide/ide_bus_master.h"
#include "devices/ide/ide_drive.h"
#include "devices/irq.h"
#include "devices/ports_of.h"

namespace ring3 {

/// Answers the command block, eight ports from a multiple of eight.
class IdeChannel final : public PortDevice {
 public:
  IdeChannel(IrqLine irq, IdeBusMaster& bus_master);
  /// `unit` 0 or 1; the drive outlives the channel's use. Before the guest runs.
  void Attach(unsigned unit, IdeDrive& drive);
  void Reset();
  /// Whether the chipset passes accesses on to the channel.
  void SetDecoded(bool decoded) { decoded_ = decoded; }
  /// Alternate status and device control, one port.
  PortDevice& Control() { return control_; }

  uint32_t ReadPort(uint16_t port, unsigned size) override;
  void WritePort(uint16_t port, unsigned size, uint32_t value) override;

 private:
  uint32_t ReadControl(uint16_t port, unsigned size);
  void WriteControl(uint16_t port, unsigned size, uint32_t written);
  IdeDrive* Selected() const { return drives_[selected_]; }
  bool Empty() const { return !drives_[0] && !drives_[1]; }
  uint8_t ReadByte(unsigned index);
  void WriteByte(unsigned index, uint8_t value);
  void WriteCommand(uint8_t command);
  void Diagnose();
  uint8_t AlternateStatus() const;
  void SetInterrupt(unsigned unit, bool level);
  void UpdateInterrupt();

  IrqLine irq_;
  IdeBusMaster& bus_master_;
  PortsOf<IdeChannel, &IdeChannel::ReadControl, &IdeChannel::WriteControl> control_{*this};
  std::array<IdeDrive*, 2> drives_{};
  std::array<bool, 2> interrupts_{};
  unsigned selected_ = 0;
  uint8_t device_control_ = 0;
  bool decoded_ = true;
};

}  // namespace ring3
