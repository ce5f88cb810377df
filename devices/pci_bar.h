// What one base address register of a PCI function shows on the port bus or in guest-physical memory.
#pragma once

#include <cstdint>

#include "devices/pci_device.h"

namespace ring3 {

/// Stands between the bus and the function, whose ports and addresses count from the register's start.
class PciBar final : public PortDevice, public MmioDevice {
 public:
  /// Register `index` of `function`, which declared it and outlives this.
  PciBar(PciDevice& function, unsigned index) : function_(function), index_(index) {}

  void UnmapIfMoved(PortBus* ports, PhysicalMemory* memory);
  /// Maps what the guest has switched on, unless it is mapped already or the place is taken.
  void MapIfWanted(PortBus* ports, PhysicalMemory* memory);

  uint32_t ReadPort(uint16_t port, unsigned size) override;
  void WritePort(uint16_t port, unsigned size, uint32_t value) override;
  uint64_t ReadMmio(GuestPhysical address, unsigned size) override;
  void WriteMmio(GuestPhysical address, unsigned size, uint64_t value) override;

 private:
  enum class Shown : uint8_t { kNothing, kPorts, kMmio, kBacked };

  Shown MapPorts(PortBus* ports, uint32_t address);
  Shown MapMemory(PhysicalMemory* memory, uint32_t address);

  PciDevice& function_;
  const unsigned index_;
  Shown shown_ = Shown::kNothing;
  uint32_t base_ = 0;            // while something is shown
  PortDevice* ports_ = nullptr;  // the function's, while they are shown
  MmioDevice* mmio_ = nullptr;
};

}  // namespace ring3
