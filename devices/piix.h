// The south bridge's functions on the PCI bus: the PIIX3 ISA bridge with its interrupt routing (Intel 82371SB) and the
// PIIX4 power management function (Intel 82371AB).
#pragma once

#include <cstdint>
#include <optional>

#include "devices/acpi_pm.h"
#include "devices/irq_router.h"
#include "devices/pci_device.h"
#include "devices/port_bus.h"

namespace ring3 {

/// Function 0. Of its registers only the PIRQ routes have an effect; the others hold what is written.
class PiixIsaBridge final : public PciDevice {
 public:
  explicit PiixIsaBridge(IrqRouter& router);
  void Reset() override;
  /// Routes as a BIOS does: PIRQA and PIRQB to `first`, the others to `second`.
  void RoutePirqs(unsigned first, unsigned second);

 protected:
  void ConfigWritten(uint8_t offset, unsigned size) override;

 private:
  void UpdateRoutes();

  IrqRouter& router_;
};

/// Function 3. Shows the ACPI registers where the guest puts them. The SMBus is left out; there is no system management
/// mode, so the function says that it is set up already.
class PiixPowerManagement final : public PciDevice {
 public:
  /// `registers` are attached to `ports`; both outlive this.
  PiixPowerManagement(AcpiPm& registers, PortBus& ports);
  void Reset() override;
  /// Shows the registers at `base`, a multiple of 64, as a BIOS does.
  void SetBase(uint16_t base);
  /// Where the guest has the registers now.
  std::optional<uint16_t> Base() const { return shown_; }

 protected:
  void ConfigWritten(uint8_t offset, unsigned size) override;

 private:
  void UpdateBase();

  AcpiPm& registers_;
  PortBus& ports_;
  std::optional<uint16_t> shown_;
};

}  // namespace ring3
