// The AT's x87 error logic: FERR# latches a request on IRQ 13 until the guest writes port F0h (Intel 82371AB, "Coprocessor
// Error Register").
#pragma once

#include "devices/byte_port_device.h"
#include "devices/irq.h"

namespace ring3 {

class FpuErrorLatch final : public BytePortDevice {
 public:
  explicit FpuErrorLatch(IrqLine irq) : irq_(irq) {}
  /// The processor met an unmasked x87 error with CR0.NE clear.
  void Assert() { irq_.Set(true); }
  void Reset() { irq_.Set(false); }

 protected:
  uint8_t ReadByte(uint16_t) override { return 0xFF; }
  void WriteByte(uint16_t, uint8_t) override { irq_.Set(false); }

 private:
  IrqLine irq_;
};

}  // namespace ring3
