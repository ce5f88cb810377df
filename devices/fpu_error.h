// The AT's x87 error logic: FERR# latches a request on IRQ 13 until the guest writes port F0h, which asserts IGNNE#
// (Intel 82371AB, "Coprocessor Error Register").
#pragma once

#include <functional>
#include <utility>

#include "devices/byte_port_device.h"
#include "devices/irq.h"

namespace ring3 {

class FpuErrorLatch final : public BytePortDevice {
 public:
  /// `ignore` is called when IGNNE# is asserted. The processor ends that by itself, when FERR# goes.
  FpuErrorLatch(IrqLine irq, std::function<void()> ignore) : irq_(irq), ignore_(std::move(ignore)) {}
  /// The processor met an unmasked x87 error with CR0.NE clear.
  void Assert() { irq_.Set(true); }
  void Reset() { irq_.Set(false); }

 protected:
  uint8_t ReadByte(uint16_t) override { return 0xFF; }
  void WriteByte(uint16_t, uint8_t) override {
    if (irq_.Level() && ignore_) ignore_();
    irq_.Set(false);
  }

 private:
  IrqLine irq_;
  std::function<void()> ignore_;
};

}  // namespace ring3
