#include "devices/pic8259.h"

#include "devices/layout.h"

namespace ring3 {
namespace {

// A0 = 0, bit 4 set: ICW1.
constexpr uint8_t kIcw1 = 0x10;
constexpr uint8_t kIcw1NeedsIcw4 = 0x01;
constexpr uint8_t kIcw1Single = 0x02;
constexpr uint8_t kIcw2VectorMask = 0xF8;
constexpr uint8_t kIcw4AutoEoi = 0x02;
constexpr uint8_t kIcw4SpecialFullyNested = 0x10;

// A0 = 0, bit 4 clear: OCW2, or OCW3 when bit 3 is set.
constexpr uint8_t kOcw3 = 0x08;
constexpr uint8_t kOcw2Eoi = 0x20;
constexpr uint8_t kOcw2Specific = 0x40;
constexpr uint8_t kOcw2Rotate = 0x80;
constexpr uint8_t kOcw2CommandMask = 0xE0;
constexpr uint8_t kOcw2LevelMask = 0x07;
constexpr uint8_t kOcw3ReadIsr = 0x01;
constexpr uint8_t kOcw3ReadRegister = 0x02;
constexpr uint8_t kOcw3Poll = 0x04;
constexpr uint8_t kOcw3SpecialMask = 0x20;
constexpr uint8_t kOcw3EnableSpecialMask = 0x40;

constexpr uint8_t kPollInterrupt = 0x80;
constexpr uint8_t kSpuriousLevel = 7;

// IRQ 0, 1, 2, 8 and 13 are always edge triggered (PIIX datasheet, ELCR1 and ELCR2).
constexpr uint8_t kMasterElcrWritable = 0xF8;
constexpr uint8_t kSlaveElcrWritable = 0xDE;

constexpr unsigned kInputsPerChip = 8;

constexpr uint8_t Bit(int level) { return static_cast<uint8_t>(1u << level); }

}  // namespace

Pic8259::Pic8259(Role role) : role_(role) {}

void Pic8259::Reset() {
  irr_ = isr_ = 0;
  imr_ = 0xFF;
  level_triggered_ = 0;
  vector_base_ = 0;
  lowest_priority_ = 7;
  expect_ = Expect::kNothing;
  single_ = needs_icw4_ = auto_eoi_ = rotate_on_auto_eoi_ = special_fully_nested_ = false;
  special_mask_ = read_isr_ = poll_ = false;
  Changed();
}

void Pic8259::SetInput(unsigned level, bool high) {
  const uint8_t bit = Bit(static_cast<int>(level));
  const bool was_high = (inputs_ & bit) != 0;
  inputs_ = static_cast<uint8_t>(high ? inputs_ | bit : inputs_ & ~bit);
  if (!high) {
    irr_ = static_cast<uint8_t>(irr_ & ~bit);  // the request must stay until INTA, in either trigger mode
  } else if (!was_high || (level_triggered_ & bit) != 0) {
    irr_ |= bit;
  }
  Changed();
}

void Pic8259::SetLevelTriggered(uint8_t lines) {
  level_triggered_ = lines & (role_ == Role::kMaster ? kMasterElcrWritable : kSlaveElcrWritable);
  irr_ |= inputs_ & level_triggered_;
  Changed();
}

int Pic8259::HighestPriority(uint8_t lines) const {
  for (unsigned i = 1; i <= kInputsPerChip; ++i) {
    const int level = static_cast<int>((lowest_priority_ + i) % kInputsPerChip);
    if ((lines & Bit(level)) != 0) return level;
  }
  return -1;
}

int Pic8259::RequestLevel() const {
  if (expect_ != Expect::kNothing) return -1;
  const int request = HighestPriority(static_cast<uint8_t>(irr_ & ~imr_));
  // In special mask mode a masked level in service locks nobody out.
  const int blocking = HighestPriority(special_mask_ ? static_cast<uint8_t>(isr_ & ~imr_) : isr_);
  if (request < 0 || blocking < 0) return request;
  // In special fully nested mode a slave in service may still be interrupted by its own higher priorities.
  const bool nested_slave = special_fully_nested_ && role_ == Role::kMaster && request == int{layout::kCascadeIrq};
  if (request == blocking) return nested_slave ? request : -1;
  return HighestPriority(static_cast<uint8_t>(Bit(request) | Bit(blocking))) == request ? request : -1;
}

Pic8259::Acknowledged Pic8259::Acknowledge() {
  const int level = RequestLevel();
  if (level < 0) return {kSpuriousLevel, true};
  if ((level_triggered_ & Bit(level)) == 0) irr_ &= static_cast<uint8_t>(~Bit(level));
  if (!auto_eoi_) {
    isr_ |= Bit(level);
  } else if (rotate_on_auto_eoi_) {
    lowest_priority_ = static_cast<uint8_t>(level);
  }
  Changed();
  return {static_cast<uint8_t>(level), false};
}

uint8_t Pic8259::Poll() {
  poll_ = false;
  const Acknowledged taken = Acknowledge();
  return taken.spurious ? 0 : static_cast<uint8_t>(kPollInterrupt | taken.level);
}

uint8_t Pic8259::ReadByte(uint16_t port) {
  if (poll_) return Poll();
  if ((port & 1) != 0) return imr_;
  return read_isr_ ? isr_ : irr_;
}

void Pic8259::WriteByte(uint16_t port, uint8_t value) {
  if ((port & 1) != 0) {
    if (expect_ != Expect::kNothing) {
      ContinueInitialization(value);
    } else {
      imr_ = value;
    }
  } else if ((value & kIcw1) != 0) {
    StartInitialization(value);
  } else if ((value & kOcw3) != 0) {
    WriteOcw3(value);
  } else {
    WriteOcw2(value);
  }
  Changed();
}

void Pic8259::StartInitialization(uint8_t icw1) {
  irr_ = inputs_ & level_triggered_;  // edge-triggered inputs need a new rising edge
  isr_ = imr_ = 0;
  lowest_priority_ = 7;
  special_mask_ = read_isr_ = poll_ = false;
  auto_eoi_ = rotate_on_auto_eoi_ = special_fully_nested_ = false;
  single_ = (icw1 & kIcw1Single) != 0;
  needs_icw4_ = (icw1 & kIcw1NeedsIcw4) != 0;
  expect_ = Expect::kIcw2;
}

void Pic8259::ContinueInitialization(uint8_t value) {
  const Expect after_icw3 = needs_icw4_ ? Expect::kIcw4 : Expect::kNothing;
  switch (expect_) {
    case Expect::kIcw2:
      vector_base_ = value & kIcw2VectorMask;
      expect_ = single_ ? after_icw3 : Expect::kIcw3;
      break;
    case Expect::kIcw3:  // how the chips are cascaded is wiring here
      expect_ = after_icw3;
      break;
    case Expect::kIcw4:
      auto_eoi_ = (value & kIcw4AutoEoi) != 0;
      special_fully_nested_ = (value & kIcw4SpecialFullyNested) != 0;
      expect_ = Expect::kNothing;
      break;
    case Expect::kNothing:
      break;
  }
}

int Pic8259::NonSpecificEoiLevel() const {
  // In special mask mode a masked level in service is left alone.
  return HighestPriority(special_mask_ ? static_cast<uint8_t>(isr_ & ~imr_) : isr_);
}

void Pic8259::EndOfInterrupt(int level, bool rotate) {
  if (level < 0) return;
  isr_ &= static_cast<uint8_t>(~Bit(level));
  if (rotate) lowest_priority_ = static_cast<uint8_t>(level);
}

void Pic8259::WriteOcw2(uint8_t value) {
  const int level = value & kOcw2LevelMask;
  switch (value & kOcw2CommandMask) {
    case 0:
      rotate_on_auto_eoi_ = false;
      break;
    case kOcw2Rotate:
      rotate_on_auto_eoi_ = true;
      break;
    case kOcw2Eoi:
      EndOfInterrupt(NonSpecificEoiLevel(), false);
      break;
    case kOcw2Rotate | kOcw2Eoi:
      EndOfInterrupt(NonSpecificEoiLevel(), true);
      break;
    case kOcw2Specific | kOcw2Eoi:
      EndOfInterrupt(level, false);
      break;
    case kOcw2Rotate | kOcw2Specific | kOcw2Eoi:
      EndOfInterrupt(level, true);
      break;
    case kOcw2Rotate | kOcw2Specific:
      lowest_priority_ = static_cast<uint8_t>(level);
      break;
    default:
      break;
  }
}

void Pic8259::WriteOcw3(uint8_t value) {
  if ((value & kOcw3EnableSpecialMask) != 0) special_mask_ = (value & kOcw3SpecialMask) != 0;
  if ((value & kOcw3ReadRegister) != 0) read_isr_ = (value & kOcw3ReadIsr) != 0;
  poll_ = (value & kOcw3Poll) != 0;
}

PicPair::PicPair() {
  slave_.OnChange([this] { master_.SetInput(layout::kCascadeIrq, slave_.Output()); });
  master_.OnChange([this] { UpdateInterrupt(); });
}

void PicPair::Reset() {
  slave_.Reset();
  master_.Reset();
}

void PicPair::UpdateInterrupt() {
  const bool intr = master_.Output();
  if (intr == intr_) return;
  intr_ = intr;
  if (on_interrupt_) on_interrupt_(intr);
}

void PicPair::SetIrq(unsigned irq, bool level) {
  if (irq < kInputsPerChip) {
    master_.SetInput(irq, level);
  } else {
    slave_.SetInput(irq - kInputsPerChip, level);
  }
}

IrqState PicPair::GetIrqState(unsigned irq) const {
  const bool on_slave = irq >= kInputsPerChip;
  const Pic8259& chip = on_slave ? slave_ : master_;
  const unsigned level = irq % kInputsPerChip;
  if (chip.Masked(level) || (on_slave && master_.Masked(layout::kCascadeIrq))) return IrqState::kMasked;
  return chip.Requested(level) ? IrqState::kPending : IrqState::kIdle;
}

uint8_t PicPair::Acknowledge() {
  const Pic8259::Acknowledged taken = master_.Acknowledge();
  if (taken.spurious || taken.level != layout::kCascadeIrq) return master_.VectorFor(taken.level);
  const uint8_t vector = slave_.VectorFor(slave_.Acknowledge().level);
  // A slave that still requests must show the edge-triggered master a new edge.
  master_.SetInput(layout::kCascadeIrq, false);
  master_.SetInput(layout::kCascadeIrq, slave_.Output());
  return vector;
}

uint8_t PicPair::ElcrPorts::ReadByte(uint16_t port) { return chips_[port & 1]->LevelTriggered(); }

void PicPair::ElcrPorts::WriteByte(uint16_t port, uint8_t value) { chips_[port & 1]->SetLevelTriggered(value); }

}  // namespace ring3
