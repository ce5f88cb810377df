// Joins ISA interrupt lines and the PIRQ lines of PCI in front of the interrupt controllers (Intel 82371SB, PIRQRCA to
// PIRQRCD).
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "devices/irq.h"
#include "devices/pci_bus.h"

namespace ring3 {

/// An input of the controllers is high while its ISA line is, or any PIRQ line that is routed to it.
class IrqRouter final : public IrqSink, public PirqSink {
 public:
  explicit IrqRouter(IrqSink& controllers) : controllers_(controllers) {}

  /// A second controller that sees the same lines; ISA's line 0 is its input 2, as an I/O APIC has it.
  void SetIoApic(IrqSink* io_apic) { io_apic_ = io_apic; }

  /// The ISA line `irq`, 0..15.
  void SetIrq(unsigned irq, bool level) override;
  /// Of the controller where the line is not masked.
  IrqState GetIrqState(unsigned irq) const override;
  void SetPirq(unsigned pirq, bool asserted) override;
  /// Leads a PIRQ line to `irq`, or nowhere.
  void Route(unsigned pirq, std::optional<unsigned> irq);

 private:
  static constexpr unsigned kIrqCount = 16;
  void Update();

  static constexpr unsigned PinOf(unsigned irq) { return irq == 0 ? 2 : irq; }

  IrqSink& controllers_;
  IrqSink* io_apic_ = nullptr;
  std::array<std::optional<unsigned>, PciBus::kPirqCount> routes_{};
  uint16_t isa_ = 0;      // by line
  uint8_t pirqs_ = 0;     // by PIRQ
  uint16_t outputs_ = 0;  // what the controllers were told last
};

}  // namespace ring3
