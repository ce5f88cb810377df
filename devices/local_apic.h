// The processor's local APIC with its timer (Intel SDM volume 3, chapter 10), as the only one of its machine.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>

#include "devices/clock.h"
#include "shadowmmu/physical_memory.h"

namespace ring3 {

/// xAPIC: one page of registers, 32 bits each at multiples of 16. LINT0 is wired to the 8259As and stands open for them
/// after RESET, as a BIOS leaves it. The timer counts nanoseconds, divided.
class LocalApic final : public MmioDevice {
 public:
  static constexpr uint64_t kAddress = 0xFEE0'0000;
  static constexpr uint64_t kBytes = 0x1000;
  /// IA32_APIC_BASE after RESET: enabled, bootstrap processor.
  static constexpr uint64_t kResetBase = kAddress | 0x900;
  static constexpr uint64_t kTimerHertz = kNanosecondsPerSecond;

  struct Events {
    std::function<void()> changed;                    // HasInterrupt() may have changed
    std::function<void(uint8_t vector)> level_ended;  // EOI of a level-triggered interrupt
  };

  LocalApic(Clock& clock, TimerQueue& timers, Events events);

  /// The low 12 bits of the address select the register.
  uint64_t ReadMmio(GuestPhysical address, unsigned size) override;
  void WriteMmio(GuestPhysical address, unsigned size, uint64_t value) override;

  /// The 8259As' INT line.
  void SetExternal(bool asserted);

  /// A message from an I/O APIC: fixed delivery of `vector`.
  void Deliver(uint8_t vector, bool level);
  /// The destination field of a message names this APIC.
  bool Accepts(uint8_t destination, bool logical) const;
  bool IsPending(uint8_t vector) const { return Test(irr_, vector); }

  /// The processor is to be interrupted.
  bool HasInterrupt() const { return BestVector().has_value() || ExternalWaits(); }
  /// The interrupt to take now; nothing when it is the 8259As', which have to be asked.
  std::optional<uint8_t> Acknowledge();
  void Reset();

 private:
  using Vectors = std::array<uint32_t, 8>;
  enum Lvt : unsigned { kTimer, kThermal, kPerformance, kLint0, kLint1, kError, kLvtCount };

  static bool Test(const Vectors& vectors, uint8_t vector) { return (vectors[vector / 32] >> vector % 32 & 1) != 0; }
  static void Set(Vectors& vectors, uint8_t vector, bool value);
  static std::optional<uint8_t> Highest(const Vectors& vectors);

  uint8_t Priority() const;
  std::optional<uint8_t> BestVector() const;
  bool ExternalWaits() const;
  bool SoftwareEnabled() const;
  uint32_t ReadRegister(unsigned number) const;
  void WriteRegister(unsigned number, uint32_t value);
  void WriteLvt(Lvt entry, uint32_t value);
  void WriteSpurious(uint32_t value);
  void EndInterrupt();
  void SendMessage();
  void Raise(Lvt entry);
  void ReportError(uint32_t error);
  unsigned Divisor() const;
  uint32_t CurrentCount() const;
  void StartTimer(uint32_t initial);
  void ScheduleTimer(uint64_t now);
  void TimerExpired(uint64_t now);

  Clock& clock_;
  Events events_;
  bool external_ = false;
  Vectors irr_{}, isr_{}, tmr_{};
  std::array<uint32_t, kLvtCount> lvt_{};
  uint32_t id_ = 0, task_priority_ = 0, logical_ = 0, format_ = 0, spurious_ = 0;
  uint32_t errors_ = 0, errors_seen_ = 0;  // collected, and as of the last write to the register
  uint32_t command_low_ = 0, command_high_ = 0;
  uint32_t initial_count_ = 0, divide_ = 0;
  uint64_t timer_start_ = 0;  // when counting from initial_count_ began
  mutable Timer timer_;
};

}  // namespace ring3
