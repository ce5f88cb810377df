// PCI bus 0 and its configuration mechanism #1 (PCI Local Bus Specification 2.1, section 3.7.4.1).
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "devices/pci_device.h"
#include "devices/ports_of.h"
#include "devices/shadow_ram.h"

namespace ring3 {

/// The four interrupt lines of PCI slots, as the south bridge sees them.
class PirqSink {
 public:
  virtual ~PirqSink() = default;
  /// `pirq` 0..3 is PIRQA#..PIRQD#; `asserted` whatever the electrical level is.
  virtual void SetPirq(unsigned pirq, bool asserted) = 0;
};

class PciBar;

/// Two blocks of four ports: the address register and the data register. What functions show behind their base address
/// registers is mapped wherever the guest says, as long as nothing else is there: chips at fixed places, RAM, and what
/// was mapped earlier come first.
class PciBus {
 public:
  static constexpr unsigned kPirqCount = 4;
  /// `byte_ports` answers accesses to the address register's ports that are not whole dwords: by the specification
  /// those are ordinary I/O (on PCs the reset control register is among them).
  explicit PciBus(PortDevice& byte_ports);
  ~PciBus();

  /// Where base address registers lead, and interrupts. Each may be null, and then leads nowhere. They outlive the bus.
  void Connect(PortBus* ports, PhysicalMemory* memory, PirqSink* pirqs);

  /// Places a function at `device` (0..31), `function` (0..7). It must outlive the bus. Throws std::logic_error when
  /// the place is taken.
  void Add(unsigned device, unsigned function, PciDevice& target);
  /// The PIRQ line that pin `pin` (1..4, INTA#..INTD#) of `device` is wired to: neighbours are rotated by one.
  static constexpr unsigned PirqOf(unsigned device, unsigned pin) {
    return (device + pin + kPirqCount - 2) % kPirqCount;
  }

  PortDevice& AddressPort() { return address_port_; }
  PortDevice& DataPort() { return data_port_; }
  void Reset();

  /// Functions call these when their registers or pins have changed.
  void UpdateMappings();
  void UpdateInterrupts();

 private:
  uint32_t ReadAddress(uint16_t port, unsigned size);
  void WriteAddress(uint16_t port, unsigned size, uint32_t value);
  uint32_t ReadData(uint16_t port, unsigned size);
  void WriteData(uint16_t port, unsigned size, uint32_t value);
  /// The function that the address register selects, if it exists.
  PciDevice* Selected() const;
  uint8_t SelectedOffset(uint16_t port) const;

  PortDevice& byte_ports_;
  PortsOf<PciBus, &PciBus::ReadAddress, &PciBus::WriteAddress> address_port_{*this};
  PortsOf<PciBus, &PciBus::ReadData, &PciBus::WriteData> data_port_{*this};
  uint32_t address_ = 0;
  std::map<unsigned, PciDevice*> functions_;  // by device << 3 | function
  std::vector<std::unique_ptr<PciBar>> bars_;
  PortBus* ports_ = nullptr;
  PhysicalMemory* memory_ = nullptr;
  PirqSink* pirqs_ = nullptr;
};

/// The Intel 82441FX (440FX) host bridge. Its PAM and SMRAM registers drive `shadow` where there is one; else they hold
/// what is written, and guest RAM is mapped throughout the first megabyte.
class PciHostBridge final : public PciDevice {
 public:
  explicit PciHostBridge(ShadowRam* shadow = nullptr);
  void Reset() override;

 protected:
  void ConfigWritten(uint8_t offset, unsigned size) override;

 private:
  void UpdateShadow();
  void LockSmram();

  ShadowRam* shadow_;
};

}  // namespace ring3
