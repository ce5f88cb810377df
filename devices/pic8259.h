// The two cascaded Intel 8259A interrupt controllers of a PC, with the PIIX edge/level control registers (ELCR).
#pragma once

#include <array>
#include <cstdint>
#include <functional>

#include "devices/byte_port_device.h"
#include "devices/irq.h"

namespace ring3 {

/// One chip: two ports, told apart by address bit 0 (A0). As on the PIIX, ICW1.LTIM is ignored in favour of the ELCR.
class Pic8259 final : public BytePortDevice {
 public:
  enum class Role { kMaster, kSlave };
  struct Acknowledged {
    uint8_t level;  // 0..7; 7 when spurious
    bool spurious;  // the request had gone when the CPU asked for it: nothing is in service
  };

  explicit Pic8259(Role role);

  /// Called whenever INT may have changed.
  void OnChange(std::function<void()> callback) { on_change_ = std::move(callback); }

  void SetInput(unsigned level, bool high);
  /// The INT pin.
  bool Output() const { return RequestLevel() >= 0; }
  /// The INTA sequence up to the choice of the level.
  Acknowledged Acknowledge();
  uint8_t VectorFor(uint8_t level) const { return static_cast<uint8_t>(vector_base_ | level); }

  bool Requested(unsigned level) const { return (irr_ >> level & 1) != 0; }
  bool Masked(unsigned level) const { return (imr_ >> level & 1) != 0; }

  uint8_t LevelTriggered() const { return level_triggered_; }
  void SetLevelTriggered(uint8_t lines);
  void Reset();

 protected:
  uint8_t ReadByte(uint16_t port) override;
  void WriteByte(uint16_t port, uint8_t value) override;

 private:
  enum class Expect { kNothing, kIcw2, kIcw3, kIcw4 };

  void StartInitialization(uint8_t icw1);
  void ContinueInitialization(uint8_t value);
  void WriteOcw2(uint8_t value);
  void WriteOcw3(uint8_t value);
  void EndOfInterrupt(int level, bool rotate);
  uint8_t Poll();
  int HighestPriority(uint8_t lines) const;
  int RequestLevel() const;
  int NonSpecificEoiLevel() const;
  void Changed() {
    if (on_change_) on_change_();
  }

  const Role role_;
  std::function<void()> on_change_;
  uint8_t inputs_ = 0;
  uint8_t irr_ = 0;
  uint8_t isr_ = 0;
  uint8_t imr_ = 0xFF;
  uint8_t level_triggered_ = 0;
  uint8_t vector_base_ = 0;
  uint8_t lowest_priority_ = 7;
  Expect expect_ = Expect::kNothing;
  bool single_ = false;
  bool needs_icw4_ = false;
  bool auto_eoi_ = false;
  bool rotate_on_auto_eoi_ = false;
  bool special_fully_nested_ = false;
  bool special_mask_ = false;
  bool read_isr_ = false;
  bool poll_ = false;
};

/// Both chips, the slave's INT wired to the master's IR2.
class PicPair final : public IrqSink {
 public:
  PicPair();

  /// `changed(intr)` is called whenever the INTR output to the CPU changes.
  void OnInterruptChange(std::function<void(bool)> changed) { on_interrupt_ = std::move(changed); }

  void SetIrq(unsigned irq, bool level) override;
  IrqState GetIrqState(unsigned irq) const override;

  /// The INTR pin of the CPU.
  bool HasInterrupt() const { return intr_; }
  /// The CPU's INTA cycles: the vector to deliver. A withdrawn request yields the spurious vector 7 of its chip.
  uint8_t Acknowledge();

  PortDevice& Master() { return master_; }
  PortDevice& Slave() { return slave_; }
  PortDevice& Elcr() { return elcr_; }
  void Reset();

 private:
  /// Two ports, one byte of trigger modes for each chip.
  class ElcrPorts final : public BytePortDevice {
   public:
    ElcrPorts(Pic8259& master, Pic8259& slave) : chips_{&master, &slave} {}

   protected:
    uint8_t ReadByte(uint16_t port) override;
    void WriteByte(uint16_t port, uint8_t value) override;

   private:
    std::array<Pic8259*, 2> chips_;
  };

  void UpdateInterrupt();

  Pic8259 master_{Pic8259::Role::kMaster};
  Pic8259 slave_{Pic8259::Role::kSlave};
  ElcrPorts elcr_{master_, slave_};
  std::function<void(bool)> on_interrupt_;
  bool intr_ = false;
};

}  // namespace ring3
