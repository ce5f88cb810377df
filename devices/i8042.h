// The 8042 keyboard controller: data port and command/status port (told apart by address bit 2), keyboard and mouse.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>

#include "devices/byte_port_device.h"
#include "devices/clock.h"
#include "devices/irq.h"
#include "devices/ps2_keyboard.h"
#include "devices/ps2_mouse.h"

namespace ring3 {

/// Reset leaves the controller as firmware hands it to an operating system: keyboard on, translating to set 1.
class I8042 final : public BytePortDevice {
 public:
  struct Outputs {
    std::function<void(bool)> a20;
    std::function<void()> reset;
  };

  I8042(Clock& clock, TimerQueue& timers, IrqLine keyboard_irq, IrqLine mouse_irq, Outputs outputs);

  Ps2Keyboard& Keyboard() { return keyboard_; }
  Ps2Mouse& Mouse() { return mouse_; }
  /// Another gate changed A20; the output port reads back the state in effect.
  void SetA20(bool enabled) { a20_enabled_ = enabled; }
  void Reset();

 protected:
  uint8_t ReadByte(uint16_t port) override;
  void WriteByte(uint16_t port, uint8_t value) override;

 private:
  enum class Source { kController, kKeyboard, kMouse };

  uint8_t ReadData();
  uint8_t ReadStatus();
  void WriteCommand(uint8_t command);
  void WriteData(uint8_t value);
  void WriteArgument(uint8_t command, uint8_t value);
  void WriteOutputPort(uint8_t value);
  uint8_t OutputPort() const;
  void SetCommandByte(uint8_t value);

  /// Puts a byte where the guest reads it.
  void Present(Source source, uint8_t value);
  /// Takes the next device byte if the output buffer is empty and the serial line had time to carry it.
  void Refill();
  std::optional<uint8_t> Translate(uint8_t code);
  void UpdateInterrupts();

  Clock& clock_;
  IrqLine keyboard_irq_;
  IrqLine mouse_irq_;
  Outputs outputs_;
  Ps2Keyboard keyboard_;
  Ps2Mouse mouse_;
  Timer refill_timer_;

  std::array<uint8_t, 32> ram_{};  // ram_[0] is the command byte
  bool last_write_was_command_ = false;
  uint8_t awaiting_argument_ = 0;  // the command whose data byte is still to come
  bool output_full_ = false;
  uint8_t output_ = 0;
  Source output_source_ = Source::kController;
  bool break_prefix_ = false;  // F0h was translated away: the next code is a break code
  uint64_t next_byte_at_ = 0;  // when the line can have carried the next device byte
  bool a20_enabled_ = true;
};

}  // namespace ring3
