// Ports of a chip that has several groups of them, or other uses for its own name as a PortDevice.
#pragma once

#include "devices/port_bus.h"

namespace ring3 {

/// Answered by these member functions of `Chip`, with PortDevice's parameters; a member of that chip.
template <class Chip, auto kRead, auto kWrite>
class PortsOf final : public PortDevice {
 public:
  explicit PortsOf(Chip& chip) : chip_(chip) {}
  uint32_t ReadPort(uint16_t port, unsigned size) override { return (chip_.*kRead)(port, size); }
  void WritePort(uint16_t port, unsigned size, uint32_t value) override { (chip_.*kWrite)(port, size, value); }

 private:
  Chip& chip_;
};

}  // namespace ring3
