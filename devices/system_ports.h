// The chipset's small control ports: system control B (61h), system control A (92h) and the reset control register
// (CF9h).
#pragma once

#include <cstdint>
#include <functional>

#include "devices/byte_port_device.h"
#include "devices/clock.h"
#include "devices/pit8254.h"

namespace ring3 {

/// Port 61h: speaker and timer 2 gate, refresh toggle, timer 2 output.
class SystemControlB final : public BytePortDevice {
 public:
  SystemControlB(Clock& clock, Pit8254& pit) : clock_(clock), pit_(pit) {}
  void Reset();

 protected:
  uint8_t ReadByte(uint16_t port) override;
  void WriteByte(uint16_t port, uint8_t value) override;

 private:
  Clock& clock_;
  Pit8254& pit_;
  uint8_t written_ = 0;
};

/// Port 92h: fast A20 gate and fast reset.
class SystemControlA final : public BytePortDevice {
 public:
  SystemControlA(std::function<void(bool)> a20, std::function<void()> reset)
      : a20_(std::move(a20)), reset_(std::move(reset)) {}
  /// Another gate changed A20; the port reads back the state in effect.
  void SetA20(bool enabled) { a20_enabled_ = enabled; }

 protected:
  uint8_t ReadByte(uint16_t port) override;
  void WriteByte(uint16_t port, uint8_t value) override;

 private:
  std::function<void(bool)> a20_;
  std::function<void()> reset_;
  bool a20_enabled_ = true;
};

/// Port CF9h: setting RST_CPU resets the machine. It may be given the four ports CF8h..CFBh: at the other three there
/// is nothing.
class ResetControl final : public BytePortDevice {
 public:
  /// The value to write for a full reset (what the ACPI FADT names as RESET_VALUE).
  static constexpr uint8_t kFullReset = 0x06;

  explicit ResetControl(std::function<void()> reset) : reset_(std::move(reset)) {}
  void Reset() { value_ = 0; }

 protected:
  uint8_t ReadByte(uint16_t port) override;
  void WriteByte(uint16_t port, uint8_t value) override;

 private:
  std::function<void()> reset_;
  uint8_t value_ = 0;
};

}  // namespace ring3
