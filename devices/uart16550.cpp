#include "devices/uart16550.h"

namespace ring3 {
namespace {

enum Register : uint16_t {
  kData = 0,             // RBR on read, THR on write; DLL with DLAB
  kInterruptEnable = 1,  // DLM with DLAB
  kInterruptId = 2,      // FCR on write
  kLineControl = 3,
  kModemControl = 4,
  kLineStatus = 5,
  kModemStatus = 6,
  kScratch = 7,
  kRegisterMask = 7
};

// IER.
constexpr uint8_t kEnableReceived = 0x01;
constexpr uint8_t kEnableTransmitterEmpty = 0x02;
constexpr uint8_t kEnableLineStatus = 0x04;
constexpr uint8_t kEnableModemStatus = 0x08;
constexpr uint8_t kInterruptEnableBits = 0x0F;
// IIR, highest priority first.
constexpr uint8_t kIdLineStatus = 0x06;
constexpr uint8_t kIdReceived = 0x04;
constexpr uint8_t kIdTimeout = 0x0C;
constexpr uint8_t kIdTransmitterEmpty = 0x02;
constexpr uint8_t kIdModemStatus = 0x00;
constexpr uint8_t kIdNone = 0x01;
constexpr uint8_t kIdFifosEnabled = 0xC0;
// FCR.
constexpr uint8_t kFifoEnable = 0x01;
constexpr uint8_t kClearReceiver = 0x02;
constexpr uint8_t kFifoKept = 0xC9;  // enable, DMA mode, trigger level
constexpr unsigned kTriggerShift = 6;
constexpr std::array<size_t, 4> kTriggerLevels = {1, 4, 8, 14};
// LCR.
constexpr uint8_t kWordLengthMask = 0x03;
constexpr uint8_t kTwoStopBits = 0x04;
constexpr uint8_t kParityEnable = 0x08;
constexpr uint8_t kSetBreak = 0x40;
constexpr uint8_t kDivisorLatchAccess = 0x80;
// MCR.
constexpr uint8_t kDtr = 0x01;
constexpr uint8_t kRts = 0x02;
constexpr uint8_t kOut1 = 0x04;
constexpr uint8_t kOut2 = 0x08;
constexpr uint8_t kLoopback = 0x10;
constexpr uint8_t kModemControlBits = 0x1F;
// LSR.
constexpr uint8_t kDataReady = 0x01;
constexpr uint8_t kOverrun = 0x02;
constexpr uint8_t kBreak = 0x10;
constexpr uint8_t kLineErrors = 0x1E;
constexpr uint8_t kTransmitterIdle = 0x60;  // THRE and TEMT
constexpr uint8_t kErrorInFifo = 0x80;
// MSR.
constexpr uint8_t kDeltaCts = 0x01;
constexpr uint8_t kDeltaDsr = 0x02;
constexpr uint8_t kTrailingRi = 0x04;
constexpr uint8_t kDeltaDcd = 0x08;
constexpr uint8_t kDeltas = 0x0F;
constexpr uint8_t kCts = 0x10;
constexpr uint8_t kDsr = 0x20;
constexpr uint8_t kRi = 0x40;
constexpr uint8_t kDcd = 0x80;
constexpr uint8_t kPeerReady = kCts | kDsr | kDcd;  // the host is always connected and listening

constexpr uint64_t kBaseHertz = 115200;  // 1.8432 MHz / 16
constexpr uint64_t kTimeoutCharacters = 4;
constexpr uint64_t kFlushDelayNs = 1'000'000;

}  // namespace

Uart16550::Uart16550(Clock& clock, TimerQueue& timers, IrqLine irq, ByteSink sink)
    : clock_(clock),
      irq_(irq),
      output_(std::move(sink)),
      receive_timeout_(timers,
                       [this](uint64_t) {
                         timed_out_ = count_ != 0;
                         UpdateInterrupt();
                       }),
      flush_timer_(timers, [this](uint64_t) { output_.Flush(); }) {
  Reset();
}

void Uart16550::Reset() {
  ClearReceiver();
  transmitter_interrupt_ = false;
  interrupt_enable_ = fifo_control_ = line_control_ = modem_control_ = line_errors_ = scratch_ = 0;
  modem_status_ = kPeerReady;
  divisor_ = 1;
  UpdateInterrupt();
}

bool Uart16550::FifoEnabled() const { return (fifo_control_ & kFifoEnable) != 0; }
bool Uart16550::Loopback() const { return (modem_control_ & kLoopback) != 0; }
bool Uart16550::DivisorAccess() const { return (line_control_ & kDivisorLatchAccess) != 0; }

bool Uart16550::CanReceive() const { return !Loopback() && count_ < Capacity(); }

void Uart16550::Receive(uint8_t byte) {
  if (!Loopback()) Store({byte, 0});
}

void Uart16550::ReceiveBreak() {
  if (!Loopback()) Store({0, kBreak});
}

void Uart16550::FlushOutput() {
  flush_timer_.Cancel();
  output_.Flush();
}

/// The time of four characters at the programmed rate and format.
uint64_t Uart16550::TimeoutNs() const {
  const uint64_t bits = 1 + 5 + (line_control_ & kWordLengthMask) + ((line_control_ & kParityEnable) != 0) +
                        ((line_control_ & kTwoStopBits) != 0 ? 2 : 1);
  const uint64_t divisor = divisor_ == 0 ? 0x10000 : divisor_;
  return kTimeoutCharacters * bits * divisor * kNanosecondsPerSecond / kBaseHertz;
}

void Uart16550::Store(Character character) {
  if (count_ == Capacity()) {
    line_errors_ |= kOverrun;
    if (!FifoEnabled()) At(0) = character;  // without FIFOs the new character overwrites the old one
  } else {
    At(count_++) = character;
  }
  if (count_ == 1) line_errors_ |= character.errors;
  if (FifoEnabled()) {
    timed_out_ = false;
    receive_timeout_.Schedule(clock_.NowNs() + TimeoutNs());
  }
  UpdateInterrupt();
}

void Uart16550::ClearReceiver() {
  head_ = count_ = 0;
  timed_out_ = false;
  receive_timeout_.Cancel();
}

uint8_t Uart16550::ReadByte(uint16_t port) {
  switch (port & kRegisterMask) {
    case kData:
      return DivisorAccess() ? static_cast<uint8_t>(divisor_) : ReadReceiver();
    case kInterruptEnable:
      return DivisorAccess() ? static_cast<uint8_t>(divisor_ >> 8) : interrupt_enable_;
    case kInterruptId:
      return ReadInterruptId();
    case kLineControl:
      return line_control_;
    case kModemControl:
      return modem_control_;
    case kLineStatus:
      return ReadLineStatus();
    case kModemStatus:
      return ReadModemStatus();
    default:
      return scratch_;
  }
}

void Uart16550::WriteByte(uint16_t port, uint8_t value) {
  switch (port & kRegisterMask) {
    case kData:
      if (DivisorAccess()) {
        divisor_ = static_cast<uint16_t>((divisor_ & 0xFF00) | value);
      } else {
        Transmit(value);
      }
      break;
    case kInterruptEnable:
      if (DivisorAccess()) {
        divisor_ = static_cast<uint16_t>((divisor_ & 0x00FF) | value << 8);
      } else {
        WriteInterruptEnable(value);
      }
      break;
    case kInterruptId:
      WriteFifoControl(value);
      break;
    case kLineControl:
      WriteLineControl(value);
      break;
    case kModemControl:
      WriteModemControl(value);
      break;
    case kScratch:
      scratch_ = value;
      break;
    default:
      break;  // LSR and MSR: writes are for factory tests
  }
}

uint8_t Uart16550::ReadReceiver() {
  const uint8_t data = At(0).data;  // an empty receiver repeats its last character
  if (count_ == 0) return data;
  const bool was_full = !CanReceive();
  if (--count_ != 0) {
    head_ = (head_ + 1) % kFifoSize;
    line_errors_ |= At(0).errors;
  }
  timed_out_ = false;
  if (FifoEnabled() && count_ != 0) {
    receive_timeout_.Schedule(clock_.NowNs() + TimeoutNs());
  } else {
    receive_timeout_.Cancel();
  }
  UpdateInterrupt();
  if (was_full && on_receive_ready_ && CanReceive()) on_receive_ready_();
  return data;
}

uint8_t Uart16550::ReadInterruptId() {
  const uint8_t id = InterruptId();
  if (id == kIdTransmitterEmpty) {
    transmitter_interrupt_ = false;
    UpdateInterrupt();
  }
  return static_cast<uint8_t>(id | (FifoEnabled() ? kIdFifosEnabled : 0));
}

uint8_t Uart16550::ReadLineStatus() {
  uint8_t status = kTransmitterIdle | line_errors_;
  if (count_ != 0) status |= kDataReady;
  if (FifoEnabled()) {
    for (size_t i = 0; i < count_; ++i) {
      if (At(i).errors != 0) status |= kErrorInFifo;
    }
  }
  if (line_errors_ != 0) {
    line_errors_ = 0;
    if (count_ != 0) At(0).errors = 0;
    UpdateInterrupt();
  }
  return status;
}

uint8_t Uart16550::ReadModemStatus() {
  const uint8_t status = modem_status_;
  if ((status & kDeltas) != 0) {
    modem_status_ &= static_cast<uint8_t>(~kDeltas);
    UpdateInterrupt();
  }
  return status;
}

void Uart16550::Transmit(uint8_t value) {
  // Writing THR withdraws the interrupt, and THR is empty again at once: the line shows a new edge.
  if (transmitter_interrupt_) {
    transmitter_interrupt_ = false;
    UpdateInterrupt();
  }
  if (Loopback()) {
    Store({value, 0});
  } else {
    if (output_.Empty()) flush_timer_.Schedule(clock_.NowNs() + kFlushDelayNs);
    output_.Append(value);
  }
  transmitter_interrupt_ = true;
  UpdateInterrupt();
}

void Uart16550::WriteInterruptEnable(uint8_t value) {
  const bool newly_enabled = (value & ~interrupt_enable_ & kEnableTransmitterEmpty) != 0;
  interrupt_enable_ = value & kInterruptEnableBits;
  if (newly_enabled) transmitter_interrupt_ = true;  // THR is always empty here
  UpdateInterrupt();
}

void Uart16550::WriteFifoControl(uint8_t value) {
  const bool toggled = ((value ^ fifo_control_) & kFifoEnable) != 0;
  fifo_control_ = (value & kFifoEnable) != 0 ? value & kFifoKept : 0;
  if (toggled || (value & kClearReceiver) != 0) {
    ClearReceiver();
    if (on_receive_ready_ && CanReceive()) on_receive_ready_();
  }
  UpdateInterrupt();
}

void Uart16550::WriteLineControl(uint8_t value) {
  const bool break_starts = (value & ~line_control_ & kSetBreak) != 0;
  line_control_ = value;
  if (break_starts && Loopback()) Store({0, kBreak});
}

void Uart16550::WriteModemControl(uint8_t value) {
  const bool was_loopback = Loopback();
  modem_control_ = value & kModemControlBits;
  UpdateModemLines();
  if (was_loopback && on_receive_ready_ && CanReceive()) on_receive_ready_();
}

/// Derives MSR from the modem control outputs (loopback) or the peer, with the change bits.
void Uart16550::UpdateModemLines() {
  uint8_t lines = kPeerReady;
  if (Loopback()) {
    lines = 0;
    if ((modem_control_ & kRts) != 0) lines |= kCts;
    if ((modem_control_ & kDtr) != 0) lines |= kDsr;
    if ((modem_control_ & kOut1) != 0) lines |= kRi;
    if ((modem_control_ & kOut2) != 0) lines |= kDcd;
  }
  const auto changed = static_cast<uint8_t>(lines ^ modem_status_);
  uint8_t deltas = modem_status_ & kDeltas;
  if ((changed & kCts) != 0) deltas |= kDeltaCts;
  if ((changed & kDsr) != 0) deltas |= kDeltaDsr;
  if ((changed & kRi) != 0 && (lines & kRi) == 0) deltas |= kTrailingRi;
  if ((changed & kDcd) != 0) deltas |= kDeltaDcd;
  modem_status_ = lines | deltas;
  UpdateInterrupt();
}

uint8_t Uart16550::InterruptId() const {
  if ((interrupt_enable_ & kEnableLineStatus) != 0 && (line_errors_ & kLineErrors) != 0) return kIdLineStatus;
  if ((interrupt_enable_ & kEnableReceived) != 0) {
    const size_t trigger = FifoEnabled() ? kTriggerLevels[fifo_control_ >> kTriggerShift] : 1;
    if (count_ >= trigger) return kIdReceived;
    if (timed_out_) return kIdTimeout;
  }
  if ((interrupt_enable_ & kEnableTransmitterEmpty) != 0 && transmitter_interrupt_) return kIdTransmitterEmpty;
  if ((interrupt_enable_ & kEnableModemStatus) != 0 && (modem_status_ & kDeltas) != 0) return kIdModemStatus;
  return kIdNone;
}

void Uart16550::UpdateInterrupt() {
  // On a PC, OUT2 gates the interrupt onto the bus.
  irq_.Set(InterruptId() != kIdNone && (modem_control_ & kOut2) != 0);
}

}  // namespace ring3
