// High precision event timers (IA-PC HPET specification 1.0a): a 64-bit counter of 10 ns and three timers.
#pragma once

#include <array>
#include <cstdint>
#include <functional>

#include "devices/clock.h"
#include "devices/irq.h"
#include "shadowmmu/physical_memory.h"

namespace ring3 {

/// Passes an ISA device's line on until the HPET takes its place (legacy replacement route).
class ReplaceableLine final : public IrqSink {
 public:
  explicit ReplaceableLine(IrqSink& lines) : lines_(lines) {}
  void SetIrq(unsigned irq, bool level) override;
  IrqState GetIrqState(unsigned irq) const override { return replaced_ ? IrqState::kMasked : lines_.GetIrqState(irq); }
  void SetReplaced(bool replaced);

 private:
  IrqSink& lines_;
  unsigned irq_ = 0;
  bool level_ = false, replaced_ = false;
};

/// Each timer is one-shot or periodic, 64 or 32 bits wide, edge or level triggered. A timer fires when the counter
/// equals its comparator; periods that pass while the host is late are not made up for. Messages (FSB) are left out.
class Hpet final : public MmioDevice {
 public:
  static constexpr uint64_t kAddress = 0xFED0'0000;
  static constexpr uint64_t kBytes = 0x400;
  static constexpr unsigned kTimers = 3;
  /// What the ACPI table repeats: revision 1, three timers, a 64-bit counter, legacy replacement, vendor 8086h.
  static constexpr uint32_t kIdentity = 0x8086A201;
  static constexpr uint64_t kPeriodNs = 10;

  /// Where interrupts go. Lines 0 and 8 are ISA's, of timers 0 and 1 under legacy replacement.
  struct Wires {
    IrqSink* isa;
    IrqSink* io_apic = nullptr;  // inputs 20 to 23 are the timers' to choose from; null: there are none
    std::function<void(bool)> replace_legacy;
  };

  Hpet(Clock& clock, TimerQueue& timers, Wires wires);

  /// Registers are 64 bits wide; each half is reached by its own 4-byte access too. Other sizes read parts, and do not
  /// write.
  uint64_t ReadMmio(GuestPhysical address, unsigned size) override;
  void WriteMmio(GuestPhysical address, unsigned size, uint64_t value) override;
  void Reset();

 private:
  struct Comparator {
    uint64_t config = 0, value = ~uint64_t{0}, period = 0;
    bool level = false;  // the line is asserted
  };

  bool Enabled() const;
  bool LegacyReplacement() const;
  bool ReplacesLegacy(unsigned index) const;  // the PIT, or the RTC
  uint64_t Counter(uint64_t now) const;
  uint64_t Register(uint32_t offset) const;
  void SetRegister(uint32_t offset, uint64_t value, uint64_t written);
  void SetConfiguration(uint64_t value);
  void SetComparator(unsigned index, uint64_t value, uint64_t written);
  void ConfigureTimer(unsigned index, uint64_t value);
  void ClearStatus(uint64_t bits);
  uint64_t TicksToMatch(const Comparator& timer, uint64_t counter) const;
  void Schedule(unsigned index, uint64_t earliest_ns = 0);
  void ScheduleAll();
  void Fire(unsigned index, uint64_t now);
  void Advance(Comparator& timer, uint64_t counter) const;
  void Drive(unsigned index, bool level);

  Clock& clock_;
  const Wires wires_;
  uint64_t configuration_ = 0, status_ = 0;
  uint64_t counter_ = 0;  // while halted; else what it was at time 0 of the clock
  std::array<Comparator, kTimers> comparators_;
  std::array<Timer, kTimers> timers_;
};

}  // namespace ring3
