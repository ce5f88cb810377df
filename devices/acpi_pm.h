// ACPI fixed hardware (ACPI specification, chapter 4.8): PM1a event and control blocks, PM timer, SMI command port.
#pragma once

#include <cstdint>
#include <functional>

#include "devices/byte_port_device.h"
#include "devices/clock.h"
#include "devices/irq.h"

namespace ring3 {

/// The constants here are what the FADT and the DSDT's \_S5 package have to say.
class AcpiPm final : public PortDevice {
 public:
  static constexpr uint64_t kTimerHertz = 3579545;
  static constexpr unsigned kTimerBits = 24;  // FADT flag TMR_VAL_EXT stays clear
  static constexpr uint8_t kSleepTypeS5 = 0;
  static constexpr uint8_t kAcpiEnable = 0xE1;  // written to the SMI command port
  static constexpr uint8_t kAcpiDisable = 0x1E;

  // Offsets from the PM base port.
  static constexpr uint16_t kPm1StatusOffset = 0;
  static constexpr uint16_t kPm1EnableOffset = 2;
  static constexpr uint16_t kPm1ControlOffset = 4;
  static constexpr uint16_t kTimerOffset = 8;

  /// The low four bits of the port select the register.
  AcpiPm(Clock& clock, TimerQueue& timers, IrqLine sci, std::function<void()> power_off);

  uint32_t ReadPort(uint16_t port, unsigned size) override;
  void WritePort(uint16_t port, unsigned size, uint32_t value) override;

  /// The SMI command port and the status byte after it.
  PortDevice& SmiCommand() { return smi_command_; }
  /// The user presses the power button.
  void PressPowerButton();
  bool AcpiEnabled() const;
  void Reset();

 private:
  class SmiCommandPorts final : public BytePortDevice {
   public:
    explicit SmiCommandPorts(AcpiPm& pm) : pm_(pm) {}
    void Reset() { command_ = status_ = 0; }

   protected:
    uint8_t ReadByte(uint16_t port) override;
    void WriteByte(uint16_t port, uint8_t value) override;

   private:
    AcpiPm& pm_;
    uint8_t command_ = 0;
    uint8_t status_ = 0;
  };

  /// Since the last reset.
  uint64_t Ticks(uint64_t now) const;
  uint8_t ReadRegisterByte(uint16_t offset);
  void WriteRegisterByte(uint16_t offset, uint8_t value);
  void WriteControlHigh(uint8_t value);
  void EnableAcpi(bool enable);
  void SyncTimerStatus(uint64_t now);
  void UpdateInterrupt(uint64_t now);

  Clock& clock_;
  IrqLine sci_;
  std::function<void()> power_off_;
  SmiCommandPorts smi_command_{*this};
  uint16_t status_ = 0;
  uint16_t enable_ = 0;
  uint16_t control_ = 0;
  uint64_t timer_start_ns_ = 0;
  uint64_t carries_seen_ = 0;  // changes of the timer's top bit that TMR_STS has told of
  Timer carry_timer_;
};

}  // namespace ring3
