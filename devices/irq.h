// Interrupt request wires from devices to an interrupt controller.
#pragma once

namespace ring3 {

enum class IrqState {
  kIdle,     // no request is waiting
  kPending,  // a request is latched and the CPU has not taken it yet
  kMasked,   // the guest has masked the line
};

/// What an interrupt controller offers to the wires that end in it.
class IrqSink {
 public:
  virtual ~IrqSink() = default;
  virtual void SetIrq(unsigned irq, bool level) = 0;
  virtual IrqState GetIrqState(unsigned irq) const = 0;
};

/// One wire, held by the device that drives it. A default-constructed line is not connected.
class IrqLine {
 public:
  IrqLine() = default;
  IrqLine(IrqSink& sink, unsigned irq) : sink_(&sink), irq_(irq) {}

  void Set(bool level) {
    if (level == level_) return;
    level_ = level;
    if (sink_) sink_->SetIrq(irq_, level);
  }
  /// Makes a rising edge whatever the level was, and leaves the line high.
  void Pulse() {
    Set(false);
    Set(true);
  }
  bool Level() const { return level_; }
  IrqState State() const { return sink_ ? sink_->GetIrqState(irq_) : IrqState::kMasked; }

 private:
  IrqSink* sink_ = nullptr;
  unsigned irq_ = 0;
  bool level_ = false;
};

/// One input of a controller with several wires: high while any of them is. A wire's number is its input here.
class SharedLine final : public IrqSink {
 public:
  SharedLine(IrqSink& sink, unsigned irq) : line_(sink, irq) {}
  void SetIrq(unsigned input, bool level) override {
    levels_ = level ? levels_ | 1u << input : levels_ & ~(1u << input);
    line_.Set(levels_ != 0);
  }
  IrqState GetIrqState(unsigned) const override { return line_.State(); }

 private:
  IrqLine line_;
  unsigned levels_ = 0;
};

}  // namespace ring3
