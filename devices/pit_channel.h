// One counter of an Intel 8254, computed from the time at which it was started instead of being clocked.
#pragma once

#include <cstdint>
#include <optional>

namespace ring3 {

/// All times are in ticks of the counter's CLK input since an arbitrary start and never decrease from call to call.
class PitChannel {
 public:
  /// A control word for this counter other than a latch command (bits 5:0: access, mode, BCD).
  void WriteControl(uint8_t control, int64_t tick);
  void WriteByte(uint8_t value, int64_t tick);
  uint8_t ReadByte(int64_t tick);
  void LatchCount(int64_t tick);
  void LatchStatus(int64_t tick);

  void SetGate(bool high, int64_t tick);
  bool Gate() const { return gate_; }
  /// The OUT pin.
  bool Output(int64_t tick);

  /// The first time after `tick` at which OUT rises, if nothing is written until then.
  std::optional<int64_t> NextRise(int64_t tick);
  /// True in modes 2 and 3 while counting: OUT rises again every Period() ticks.
  bool Periodic() const { return counting_ && Rate(); }
  int64_t Period() const { return count_; }
  uint8_t Mode() const { return mode_; }

 private:
  enum class Access : uint8_t { kLow = 1, kHigh = 2, kLowThenHigh = 3 };

  bool Rate() const { return mode_ == 2 || mode_ == 3; }
  bool HardwareTriggered() const { return mode_ == 1 || mode_ == 5; }
  int64_t Modulus() const { return bcd_ ? 10000 : 0x10000; }
  /// How long OUT is high in a period of mode 3.
  static int64_t HighTicks(int64_t count) { return (count + 1) / 2; }

  void LoadCount(uint16_t written, int64_t tick);
  void Start(int64_t count, int64_t tick);
  void AdoptPending(int64_t tick);
  int64_t Elapsed(int64_t tick) const;
  int64_t BoundaryAfter(int64_t tick) const;
  int64_t CurrentValue(int64_t tick);
  uint16_t CurrentCount(int64_t tick);
  uint8_t Status(int64_t tick);

  uint8_t mode_ = 0;
  Access access_ = Access::kLowThenHigh;
  bool bcd_ = false;
  bool gate_ = true;

  bool counting_ = false;           // a count has been loaded since the control word
  int64_t count_ = 0x10000;         // the count in use, 1 .. Modulus()
  int64_t start_ = 0;               // the tick at which it was loaded; may lie one tick ahead
  std::optional<int64_t> frozen_;   // elapsed ticks while GATE stops the counter
  std::optional<int64_t> pending_;  // written, to be loaded at pending_at_ (modes 2, 3) or the next trigger (1, 5)
  int64_t pending_at_ = 0;

  std::optional<uint8_t> low_written_;  // first byte of a two-byte write
  bool read_high_next_ = false;
  std::optional<uint16_t> latched_count_;
  std::optional<uint8_t> latched_status_;
};

}  // namespace ring3
