#include "devices/ide/ide_channel.h"

namespace ring3 {
namespace {

constexpr unsigned kRegisterMask = 7;
// Device control register.
constexpr uint8_t kNoInterrupt = 0x02, kSoftReset = 0x04, kHighOrder = 0x80;

uint32_t AllOnes(unsigned size) { return size == 4 ? ~0u : (1u << (8 * size)) - 1; }

}  // namespace

IdeChannel::IdeChannel(IrqLine irq, IdeBusMaster& bus_master) : irq_(irq), bus_master_(bus_master) {
  bus_master_.OnStart([this] {
    for (IdeDrive* drive : drives_)
      if (drive) drive->BusMasterStarted();
  });
}

void IdeChannel::Attach(unsigned unit, IdeDrive& drive) {
  drives_.at(unit) = &drive;
  drive.Connect({.interrupt = [this, unit](bool level) { SetInterrupt(unit, level); }, .bus_master = &bus_master_});
  drive.HardReset();
}

void IdeChannel::Reset() {
  device_control_ = 0;
  selected_ = 0;
  for (IdeDrive* drive : drives_)
    if (drive) drive->HardReset();
  interrupts_ = {};
  UpdateInterrupt();
}

void IdeChannel::SetInterrupt(unsigned unit, bool level) {
  interrupts_[unit] = level;
  UpdateInterrupt();
}

/// Only the selected drive drives the line.
void IdeChannel::UpdateInterrupt() {
  const bool level = interrupts_[selected_] && !(device_control_ & kNoInterrupt);
  if (level && !irq_.Level()) bus_master_.NoteInterrupt();
  irq_.Set(level);
}

uint32_t IdeChannel::ReadPort(uint16_t port, unsigned size) {
  if (!decoded_) return AllOnes(size);
  const unsigned index = port & kRegisterMask;
  if (index == IdeDrive::kData) return Selected() ? Selected()->ReadData(size) : 0;
  uint32_t value = 0;
  for (unsigned i = 0; i < size; ++i) {
    const unsigned at = index + i;
    value |= uint32_t{at <= kRegisterMask ? ReadByte(at) : uint8_t{0xFF}} << (8 * i);
  }
  return value;
}

void IdeChannel::WritePort(uint16_t port, unsigned size, uint32_t value) {
  if (!decoded_) return;
  const unsigned index = port & kRegisterMask;
  if (index == IdeDrive::kData) {
    if (Selected()) Selected()->WriteData(size, value);
    return;
  }
  for (unsigned i = 0; i < size && index + i <= kRegisterMask; ++i) {
    WriteByte(index + i, static_cast<uint8_t>(value >> (8 * i)));
  }
}

uint8_t IdeChannel::ReadByte(unsigned index) {
  if (Empty()) return 0;
  if (index == IdeDrive::kStatusCommand) {
    const uint8_t status = AlternateStatus();
    SetInterrupt(selected_, false);
    return status;
  }
  // The first drive answers for a second one that is not there.
  const IdeDrive* const drive = Selected() ? Selected() : drives_[selected_ ^ 1];
  return drive->ReadRegister(index, (device_control_ & kHighOrder) != 0);
}

uint8_t IdeChannel::AlternateStatus() const { return Selected() ? Selected()->Status() : 0; }

void IdeChannel::WriteByte(unsigned index, uint8_t value) {
  device_control_ &= static_cast<uint8_t>(~kHighOrder);
  if (index == IdeDrive::kStatusCommand) return WriteCommand(value);
  for (IdeDrive* drive : drives_)
    if (drive) drive->WriteRegister(index, value);
  if (index == IdeDrive::kDevice) {
    selected_ = (value & ata::kSecondDrive) ? 1 : 0;
    UpdateInterrupt();
  }
}

void IdeChannel::WriteCommand(uint8_t command) {
  if (device_control_ & kSoftReset) return;
  if (command == ata::kDiagnostic) return Diagnose();
  if (Selected()) Selected()->WriteCommand(command);
}

/// Both drives execute it; the first one interrupts.
void IdeChannel::Diagnose() {
  for (IdeDrive* drive : drives_)
    if (drive) drive->SoftReset();
  selected_ = 0;
  if (drives_[0]) SetInterrupt(0, true);
}

void IdeChannel::WriteControl(uint16_t, unsigned, uint32_t written) {
  if (!decoded_) return;
  const auto value = static_cast<uint8_t>(written);
  const bool was_reset = (device_control_ & kSoftReset) != 0, reset = (value & kSoftReset) != 0;
  device_control_ = value;
  for (IdeDrive* drive : drives_) {
    if (!drive || reset == was_reset) continue;
    drive->SoftReset();
    if (reset) drive->SetBusy();
  }
  if (was_reset && !reset) selected_ = 0;
  UpdateInterrupt();
}

uint32_t IdeChannel::ReadControl(uint16_t, unsigned size) {
  if (!decoded_) return AllOnes(size);
  return (AllOnes(size) & ~0xFFu) | AlternateStatus();
}

}  // namespace ring3
