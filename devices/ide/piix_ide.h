// The IDE function of the PIIX3: two channels at their ISA places, and bus mastering (Intel 82371SB, function 1).
#pragma once

#include <array>
#include <functional>

#include "devices/ide/ide_bus_master.h"
#include "devices/ide/ide_channel.h"
#include "devices/irq.h"
#include "devices/pci_device.h"
#include "devices/ports_of.h"

namespace ring3 {

/// Timing registers hold what is written. The channels answer from the start, as when firmware has enabled them.
class PiixIde final : public PciDevice {
 public:
  static constexpr unsigned kChannelCount = 2;

  PiixIde(PhysicalMemory& memory, IrqLine primary, IrqLine secondary);
  void Reset() override;
  /// Bus mastering on, its registers at `base`, as a BIOS does it.
  void SetUp(uint16_t base);

  IdeChannel& Channel(unsigned index) { return channels_.at(index); }
  PortDevice* BarPorts(unsigned index) override { return index == kBusMasterBar ? &bus_master_ports_ : nullptr; }

 protected:
  void ConfigWritten(uint8_t offset, unsigned size) override;

 private:
  static constexpr unsigned kBusMasterBar = 4;

  /// Sixteen ports, eight for each channel; bytes, as firmware and drivers access them in any width.
  uint32_t ReadBusMasters(uint16_t port, unsigned size);
  void WriteBusMasters(uint16_t port, unsigned size, uint32_t value);
  void UpdateDecoding();

  std::array<IdeBusMaster, kChannelCount> bus_masters_;
  std::array<IdeChannel, kChannelCount> channels_;
  PortsOf<PiixIde, &PiixIde::ReadBusMasters, &PiixIde::WriteBusMasters> bus_master_ports_{*this};
};

}  // namespace ring3
