#include "devices/net/eeprom93c46.h"

namespace ring3 {
namespace {

constexpr unsigned kAddressBits = 6;
constexpr unsigned kCommandBits = 2 + kAddressBits;
constexpr unsigned kWordBits = 16;
constexpr uint16_t kErased = 0xFFFF;

// The two bits behind the start bit; kExtended names its command in the address's top two bits.
enum Opcode : unsigned { kExtended = 0, kWrite = 1, kRead = 2, kErase = 3 };
enum ExtendedOpcode : unsigned { kWriteDisable = 0, kWriteAll = 1, kEraseAll = 2, kWriteEnable = 3 };

}  // namespace

void Eeprom93c46::SetLines(bool select, bool clock, bool data_in) {
  if (!select) {
    if (select_) phase_ = Phase::kStart, data_out_ = true;  // ready: writing takes no time
  } else if (clock && !clock_) {
    Clock(data_in);
  }
  select_ = select;
  clock_ = clock;
}

void Eeprom93c46::Clock(bool bit) {
  switch (phase_) {
    case Phase::kStart:
      if (bit) phase_ = Phase::kCommand, bits_ = 0, shift_ = 0;
      return;
    case Phase::kCommand:
      shift_ = static_cast<uint16_t>(shift_ << 1 | bit);
      if (++bits_ == kCommandBits) TakeCommand();
      return;
    case Phase::kReading:  // goes on with the next word
      if (bits_ == 0) shift_ = words_[address_++ % kWords], bits_ = kWordBits;
      data_out_ = shift_ >> --bits_ & 1;
      return;
    case Phase::kWriting:
      shift_ = static_cast<uint16_t>(shift_ << 1 | bit);
      if (++bits_ == kWordBits) Store();
      return;
    case Phase::kDone:
      return;
  }
}

void Eeprom93c46::TakeCommand() {
  address_ = shift_ % kWords;
  const unsigned extended = address_ >> (kAddressBits - 2);
  const unsigned opcode = shift_ >> kAddressBits;
  bits_ = 0;
  shift_ = kErased;
  all_words_ = opcode == kExtended;
  phase_ = Phase::kDone;
  if (opcode == kRead) {
    phase_ = Phase::kReading;
    data_out_ = false;  // the dummy bit
  } else if (opcode == kWrite || (opcode == kExtended && extended == kWriteAll)) {
    phase_ = Phase::kWriting;
  } else if (opcode == kErase || extended == kEraseAll) {
    Store();
  } else {
    writable_ = extended == kWriteEnable;
  }
}

void Eeprom93c46::Store() {
  phase_ = Phase::kDone;
  if (!writable_) return;
  if (all_words_) {
    words_.fill(shift_);
  } else {
    words_[address_] = shift_;
  }
}

}  // namespace ring3
