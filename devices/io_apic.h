// The I/O APIC (Intel 82093AA data sheet): 24 inputs, each with a vector of its own.
#pragma once

#include <array>
#include <cstdint>
#include <functional>

#include "devices/irq.h"
#include "shadowmmu/physical_memory.h"

namespace ring3 {

class LocalApic;

/// Sends fixed and lowest-priority interrupts; entries with other delivery modes send nothing. Inputs are asserted or
/// not: what an entry says about their polarity does not matter.
class IoApic final : public MmioDevice, public IrqSink {
 public:
  static constexpr uint64_t kAddress = 0xFEC0'0000;
  static constexpr uint64_t kBytes = 0x20;
  static constexpr unsigned kPins = 24;
  static constexpr uint8_t kId = 0;

  /// `target` outlives this.
  explicit IoApic(LocalApic& target) : target_(target) { Reset(); }

  uint64_t ReadMmio(GuestPhysical address, unsigned size) override;
  void WriteMmio(GuestPhysical address, unsigned size, uint64_t value) override;

  void SetIrq(unsigned pin, bool level) override;
  IrqState GetIrqState(unsigned pin) const override;
  /// A local APIC has ended a level-triggered interrupt.
  void EndInterrupt(uint8_t vector);
  void Reset();

 private:
  uint32_t ReadRegister() const;
  void WriteRegister(uint32_t value);
  void WriteEntry(unsigned index, bool high, uint32_t value);
  void ServeLevel(unsigned pin);
  bool Send(unsigned pin);

  LocalApic& target_;
  uint8_t selected_ = 0;
  uint32_t id_ = 0;
  uint32_t inputs_ = 0;
  std::array<uint64_t, kPins> entries_{};
};

}  // namespace ring3
