// Motorola MC146818 real-time clock with the PC's CMOS RAM: index port base+0 (bit 7 masks NMI), data port base+1.
#pragma once

#include <array>
#include <cstdint>

#include "devices/byte_port_device.h"
#include "devices/clock.h"
#include "devices/irq.h"

namespace ring3 {

/// The time is an offset from the Clock, so that a guest's setting of it stays private to the guest. Interrupt flags
/// are computed when looked at; a timer runs only while an interrupt that could fire is enabled.
class Rtc146818 final : public BytePortDevice {
 public:
  static constexpr uint8_t kCenturyRegister = 0x32;  // as the ACPI FADT names it

  /// `unix_ns` is the time of day at construction, nanoseconds since 1970 UTC.
  Rtc146818(Clock& clock, TimerQueue& timers, IrqLine irq, uint64_t unix_ns);

  /// Fills in the memory sizes and equipment byte that a BIOS leaves in CMOS, checksum included.
  void SetMemorySize(uint64_t ram_bytes);
  /// Stores a byte of CMOS RAM (0Eh to 7Fh) as a setup program would.
  void SetCmos(uint8_t index, uint8_t value);
  bool NmiMasked() const { return nmi_masked_; }
  /// The RESET pin: interrupts off; time and RAM are kept by the battery.
  void Reset();

 protected:
  uint8_t ReadByte(uint16_t port) override;
  void WriteByte(uint16_t port, uint8_t value) override;

 private:
  /// Nanoseconds counted by the divider chain; seconds roll over at its multiples of a second.
  uint64_t DividerNs(uint64_t now) const { return divider_offset_ + now; }
  int64_t Seconds(uint64_t divider_ns) const;
  bool DividerHeld() const;
  /// True while the time registers are plain memory: SET is on, or the divider does not run.
  bool Halted() const;
  uint64_t PeriodicTicks() const;

  void StoreChecksum();
  uint8_t ReadRegister(uint8_t index);
  void WriteRegister(uint8_t index, uint8_t value);
  void WriteControl(uint8_t index, uint8_t value);
  uint8_t Encode(unsigned value) const;
  unsigned Decode(uint8_t value) const;
  uint8_t EncodeHour(unsigned hour) const;
  unsigned DecodeHour(uint8_t value) const;
  void StoreTime(uint64_t now);
  void AdoptTime(uint64_t now);
  bool AlarmMatches(int64_t seconds) const;
  void SyncFlags(uint64_t now);
  void UpdateInterrupt(uint64_t now);

  Clock& clock_;
  IrqLine irq_;
  std::array<uint8_t, 128> ram_{};
  uint8_t index_ = 0;
  bool nmi_masked_ = false;
  uint64_t divider_offset_;
  int64_t seconds_offset_;
  uint64_t synced_;  // divider time up to which the flags in register C are right
  Timer timer_;
};

}  // namespace ring3
