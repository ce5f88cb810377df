#include "devices/i8042.h"

#include "devices/scan_codes.h"

namespace ring3 {
namespace {

constexpr uint16_t kCommandPortBit = 4;  // 64h against 60h

// Status register.
constexpr uint8_t kOutputFull = 0x01;
constexpr uint8_t kSystemFlag = 0x04;
constexpr uint8_t kLastWasCommand = 0x08;
constexpr uint8_t kNotInhibited = 0x10;
constexpr uint8_t kMouseOutputFull = 0x20;

// Command byte.
constexpr uint8_t kKeyboardInterrupt = 0x01;
constexpr uint8_t kMouseInterrupt = 0x02;
constexpr uint8_t kDisableKeyboard = 0x10;
constexpr uint8_t kDisableMouse = 0x20;
constexpr uint8_t kTranslate = 0x40;

// Commands.
constexpr uint8_t kReadRam = 0x20;   // 20h..3Fh; 20h reads the command byte
constexpr uint8_t kWriteRam = 0x60;  // 60h..7Fh
constexpr uint8_t kRamIndexMask = 0x1F;
constexpr uint8_t kMouseOff = 0xA7;
constexpr uint8_t kMouseOn = 0xA8;
constexpr uint8_t kTestMousePort = 0xA9;
constexpr uint8_t kSelfTest = 0xAA;
constexpr uint8_t kTestKeyboardPort = 0xAB;
constexpr uint8_t kKeyboardOff = 0xAD;
constexpr uint8_t kKeyboardOn = 0xAE;
constexpr uint8_t kReadInputPort = 0xC0;
constexpr uint8_t kReadOutputPort = 0xD0;
constexpr uint8_t kWriteOutputPort = 0xD1;
constexpr uint8_t kEchoAsKeyboard = 0xD2;
constexpr uint8_t kEchoAsMouse = 0xD3;
constexpr uint8_t kWriteMouse = 0xD4;
constexpr uint8_t kA20Off = 0xDD;
constexpr uint8_t kA20On = 0xDF;
constexpr uint8_t kPulseOutputs = 0xF0;  // F0h..FFh: low bits that are 0 pulse low

constexpr uint8_t kSelfTestPassed = 0x55;
constexpr uint8_t kPortTestPassed = 0x00;
constexpr uint8_t kInputPort = 0x80;  // keyboard not locked

// Output port.
constexpr uint8_t kOutputReset = 0x01;  // active low
constexpr uint8_t kOutputA20 = 0x02;
constexpr uint8_t kOutputKeyboardFull = 0x10;
constexpr uint8_t kOutputMouseFull = 0x20;
constexpr uint8_t kOutputPullUps = 0xCC;

constexpr uint8_t kBreakPrefix = 0xF0;
constexpr uint8_t kSet1Break = 0x80;

// Eleven bits at about 12 kHz. Software that reads the data port twice for one byte relies on this pause.
constexpr uint64_t kByteTimeNs = 900'000;

}  // namespace

I8042::I8042(Clock& clock, TimerQueue& timers, IrqLine keyboard_irq, IrqLine mouse_irq, Outputs outputs)
    : clock_(clock),
      keyboard_irq_(keyboard_irq),
      mouse_irq_(mouse_irq),
      outputs_(std::move(outputs)),
      refill_timer_(timers, [this](uint64_t) { Refill(); }) {
  keyboard_.OnOutput([this] { Refill(); });
  mouse_.OnOutput([this] { Refill(); });
  Reset();
}

void I8042::Reset() {
  keyboard_.Reset();
  mouse_.Reset();
  refill_timer_.Cancel();
  ram_ = {};
  ram_[0] = kKeyboardInterrupt | kSystemFlag | kDisableMouse | kTranslate;
  last_write_was_command_ = output_full_ = break_prefix_ = false;
  awaiting_argument_ = 0;
  output_ = 0;
  next_byte_at_ = 0;
  a20_enabled_ = true;
  UpdateInterrupts();
}

uint8_t I8042::ReadByte(uint16_t port) { return (port & kCommandPortBit) != 0 ? ReadStatus() : ReadData(); }

void I8042::WriteByte(uint16_t port, uint8_t value) {
  last_write_was_command_ = (port & kCommandPortBit) != 0;
  if (last_write_was_command_) {
    WriteCommand(value);
  } else {
    WriteData(value);
  }
}

uint8_t I8042::ReadStatus() {
  Refill();
  uint8_t status = static_cast<uint8_t>(kNotInhibited | (ram_[0] & kSystemFlag));
  if (output_full_) status |= kOutputFull;
  if (output_full_ && output_source_ == Source::kMouse) status |= kMouseOutputFull;
  if (last_write_was_command_) status |= kLastWasCommand;
  return status;
}

uint8_t I8042::ReadData() {
  const uint8_t value = output_;  // stays readable after it was taken
  if (output_full_) {
    output_full_ = false;
    if (output_source_ != Source::kController) next_byte_at_ = clock_.NowNs() + kByteTimeNs;
    UpdateInterrupts();
    Refill();
  }
  return value;
}

void I8042::Present(Source source, uint8_t value) {
  output_ = value;
  output_source_ = source;
  output_full_ = true;
  // A byte that replaces an unread one makes an edge of its own.
  keyboard_irq_.Set(false);
  mouse_irq_.Set(false);
  UpdateInterrupts();
}

void I8042::UpdateInterrupts() {
  const bool mouse_byte = output_source_ == Source::kMouse;
  keyboard_irq_.Set(output_full_ && !mouse_byte && (ram_[0] & kKeyboardInterrupt) != 0);
  mouse_irq_.Set(output_full_ && mouse_byte && (ram_[0] & kMouseInterrupt) != 0);
}

std::optional<uint8_t> I8042::Translate(uint8_t code) {
  if ((ram_[0] & kTranslate) == 0) return code;
  if (code == kBreakPrefix) {
    break_prefix_ = true;
    return std::nullopt;
  }
  const uint8_t translated = TranslateSet2ToSet1(code);
  const bool is_break = break_prefix_;
  break_prefix_ = false;
  return static_cast<uint8_t>(is_break ? translated | kSet1Break : translated);
}

void I8042::Refill() {
  while (!output_full_) {
    const bool from_keyboard = keyboard_.HasOutput() && (ram_[0] & kDisableKeyboard) == 0;
    const bool from_mouse = mouse_.HasOutput() && (ram_[0] & kDisableMouse) == 0;
    if (!from_keyboard && !from_mouse) return;
    if (clock_.NowNs() < next_byte_at_) {
      refill_timer_.Schedule(next_byte_at_);
      return;
    }
    if (!from_keyboard) {
      Present(Source::kMouse, mouse_.TakeOutput());
    } else if (const std::optional<uint8_t> code = Translate(keyboard_.TakeOutput())) {
      Present(Source::kKeyboard, *code);
    }
  }
}

void I8042::SetCommandByte(uint8_t value) {
  ram_[0] = value;
  UpdateInterrupts();
  Refill();
}

uint8_t I8042::OutputPort() const {
  uint8_t value = kOutputPullUps | kOutputReset;
  if (a20_enabled_) value |= kOutputA20;
  if (output_full_) value |= output_source_ == Source::kMouse ? kOutputMouseFull : kOutputKeyboardFull;
  return value;
}

void I8042::WriteOutputPort(uint8_t value) {
  a20_enabled_ = (value & kOutputA20) != 0;
  outputs_.a20(a20_enabled_);
  if ((value & kOutputReset) == 0) outputs_.reset();
}

void I8042::WriteCommand(uint8_t command) {
  awaiting_argument_ = 0;
  if (command >= kPulseOutputs) {
    if ((command & kOutputReset) == 0) outputs_.reset();
    return;
  }
  if ((command & ~kRamIndexMask) == kReadRam) {
    Present(Source::kController, ram_[command & kRamIndexMask]);
    return;
  }
  if ((command & ~kRamIndexMask) == kWriteRam) {
    awaiting_argument_ = command;
    return;
  }
  switch (command) {
    case kMouseOff:
      SetCommandByte(ram_[0] | kDisableMouse);
      break;
    case kMouseOn:
      SetCommandByte(ram_[0] & static_cast<uint8_t>(~kDisableMouse));
      break;
    case kKeyboardOff:
      SetCommandByte(ram_[0] | kDisableKeyboard);
      break;
    case kKeyboardOn:
      SetCommandByte(ram_[0] & static_cast<uint8_t>(~kDisableKeyboard));
      break;
    case kTestMousePort:
    case kTestKeyboardPort:
      Present(Source::kController, kPortTestPassed);
      break;
    case kSelfTest:
      ram_[0] |= kSystemFlag;
      Present(Source::kController, kSelfTestPassed);
      break;
    case kReadInputPort:
      Present(Source::kController, kInputPort);
      break;
    case kReadOutputPort:
      Present(Source::kController, OutputPort());
      break;
    case kWriteOutputPort:
    case kEchoAsKeyboard:
    case kEchoAsMouse:
    case kWriteMouse:
      awaiting_argument_ = command;
      break;
    case kA20Off:
      WriteOutputPort(OutputPort() & static_cast<uint8_t>(~kOutputA20));
      break;
    case kA20On:
      WriteOutputPort(OutputPort() | kOutputA20);
      break;
    default:
      break;
  }
}

void I8042::WriteData(uint8_t value) {
  const uint8_t command = awaiting_argument_;
  awaiting_argument_ = 0;
  if (command != 0) {
    WriteArgument(command, value);
    return;
  }
  ram_[0] &= static_cast<uint8_t>(~kDisableKeyboard);  // talking to the keyboard opens its line
  break_prefix_ = false;
  keyboard_.Receive(value);
}

void I8042::WriteArgument(uint8_t command, uint8_t value) {
  switch (command) {
    case kWriteRam:
      SetCommandByte(value);
      break;
    case kWriteOutputPort:
      WriteOutputPort(value);
      break;
    case kEchoAsKeyboard:
      Present(Source::kKeyboard, value);
      break;
    case kEchoAsMouse:
      Present(Source::kMouse, value);
      break;
    case kWriteMouse:
      ram_[0] &= static_cast<uint8_t>(~kDisableMouse);
      mouse_.Receive(value);
      break;
    default:
      ram_[command & kRamIndexMask] = value;
      break;
  }
}

}  // namespace ring3
