// National Semiconductor PC16550D UART: eight registers from its base port.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>

#include "devices/byte_port_device.h"
#include "devices/clock.h"
#include "devices/irq.h"
#include "devices/output_buffer.h"

namespace ring3 {

/// Transmission takes no time. Output is collected; it reaches the sink when FlushOutput() is called, when the buffer
/// is full, and by a timer a millisecond after the first byte.
class Uart16550 final : public BytePortDevice {
 public:
  static constexpr size_t kFifoSize = 16;

  Uart16550(Clock& clock, TimerQueue& timers, IrqLine irq, ByteSink sink);

  /// Whether a byte from the line would find room. False while the guest has the chip in loopback mode.
  bool CanReceive() const;
  /// A byte arrives on the line. Without room it is lost and the guest sees an overrun error.
  void Receive(uint8_t byte);
  /// The line stays in the spacing state for longer than a character.
  void ReceiveBreak();
  /// Called after the guest has made room, so that CanReceive() holds again.
  void OnReceiveReady(std::function<void()> callback) { on_receive_ready_ = std::move(callback); }

  void FlushOutput();
  void Reset();

 protected:
  uint8_t ReadByte(uint16_t port) override;
  void WriteByte(uint16_t port, uint8_t value) override;

 private:
  struct Character {
    uint8_t data;
    uint8_t errors;  // LSR bits that go with it
  };

  bool FifoEnabled() const;
  bool Loopback() const;
  bool DivisorAccess() const;
  size_t Capacity() const { return FifoEnabled() ? kFifoSize : 1; }
  uint64_t TimeoutNs() const;

  void Store(Character character);
  Character& At(size_t i) { return fifo_[(head_ + i) % kFifoSize]; }
  uint8_t ReadReceiver();
  uint8_t ReadInterruptId();
  uint8_t ReadLineStatus();
  uint8_t ReadModemStatus();
  void Transmit(uint8_t value);
  void WriteInterruptEnable(uint8_t value);
  void WriteFifoControl(uint8_t value);
  void WriteLineControl(uint8_t value);
  void WriteModemControl(uint8_t value);
  void ClearReceiver();
  void UpdateModemLines();
  uint8_t InterruptId() const;
  void UpdateInterrupt();

  Clock& clock_;
  IrqLine irq_;
  OutputBuffer output_;
  std::function<void()> on_receive_ready_;
  Timer receive_timeout_;
  Timer flush_timer_;

  std::array<Character, kFifoSize> fifo_{};
  size_t head_ = 0;
  size_t count_ = 0;
  bool timed_out_ = false;
  bool transmitter_interrupt_ = false;  // THR became empty and neither IIR read nor THR write has cleared that yet

  uint8_t interrupt_enable_ = 0;
  uint8_t fifo_control_ = 0;
  uint8_t line_control_ = 0;
  uint8_t modem_control_ = 0;
  uint8_t line_errors_ = 0;  // LSR bits 4:1
  uint8_t modem_status_ = 0;
  uint8_t scratch_ = 0;
  uint16_t divisor_ = 1;
};

}  // namespace ring3
