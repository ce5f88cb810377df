#include "devices/floppy/floppy_controller.h"

#include <algorithm>

namespace ring3 {
namespace {

// Ports.
enum : unsigned { kStatusA, kStatusB, kDigitalOutput, kTape, kMainStatus, kFifo, kNothing, kDigitalInput };
constexpr unsigned kPortMask = 7;
// Digital output register.
constexpr uint8_t kDriveSelect = 0x03, kNotReset = 0x04, kDmaGate = 0x08;
// Main status register.
constexpr uint8_t kRequest = 0x80, kToGuest = 0x40, kNonDma = 0x20, kCommandBusy = 0x10;
// Data rate select register.
constexpr uint8_t kSoftwareReset = 0x80, kRateMask = 0x03;
constexpr uint8_t kDefaultRate = 0x02;
// Status register 0.
constexpr uint8_t kAbnormal = 0x40, kInvalid = 0x80, kPolled = 0xC0, kSeekEnd = 0x20, kEquipment = 0x10;
// Status register 3.
constexpr uint8_t kWriteProtected = 0x40, kReady = 0x28, kTrack0 = 0x10;
constexpr uint8_t kEnhanced = 0x90;  // VERSION's answer
constexpr uint8_t kHeadBit = 0x04, kOppositeDirection = 0x40, kLockBit = 0x80;
constexpr uint8_t kPollingOff = 0x10;  // CONFIGURE
constexpr unsigned kPollCount = 4;

}  // namespace

/// A command is told by its first byte without the bits in `options`.
struct FloppyController::CommandRow {
  uint8_t code, options;
  unsigned bytes;
  void (FloppyController::*execute)();
};

const FloppyController::CommandRow* FloppyController::FindCommand(uint8_t first_byte) {
  static constexpr CommandRow kRows[] = {
      {0x02, 0x60, 9, &FloppyController::ReadTrack},        {0x03, 0x00, 3, &FloppyController::Specify},
      {0x04, 0x00, 2, &FloppyController::SenseDriveStatus}, {0x05, 0xC0, 9, &FloppyController::WriteData},
      {0x06, 0xE0, 9, &FloppyController::ReadData},         {0x07, 0x00, 2, &FloppyController::Recalibrate},
      {0x08, 0x00, 1, &FloppyController::SenseInterrupt},   {0x0A, 0x40, 2, &FloppyController::ReadId},
      {0x0D, 0x40, 6, &FloppyController::FormatTrack},      {0x0E, 0x00, 1, &FloppyController::DumpRegisters},
      {0x0F, 0x00, 3, &FloppyController::SeekTo},           {0x8F, 0x40, 3, &FloppyController::SeekRelative},
      {0x10, 0x00, 1, &FloppyController::Version},          {0x12, 0x00, 2, &FloppyController::Perpendicular},
      {0x13, 0x00, 4, &FloppyController::Configure},        {0x14, 0x80, 1, &FloppyController::Lock},
      {0x16, 0xE0, 9, &FloppyController::Verify},
  };
  const auto found = std::find_if(std::begin(kRows), std::end(kRows),
                                  [=](auto& row) { return (first_byte & ~row.options) == row.code; });
  return found == std::end(kRows) ? nullptr : found;
}

FloppyController::FloppyController(IrqLine irq, DmaControllers& dma, std::array<FloppyDriveType, kDriveCount> drives)
    : irq_(irq), dma_(dma), drives_{FloppyDrive(drives[0]), FloppyDrive(drives[1])} {
  Reset();
}

void FloppyController::Reset() {
  digital_output_ = 0;
  rate_select_ = kDefaultRate;
  locked_ = false;
  SoftReset();
  resets_to_report_ = 0;
}

/// What the reset bits of two registers do. CONFIGURE's settings stay if they are locked.
void FloppyController::SoftReset() {
  ++era_;
  dma_.SetRequest(kDmaChannel, false);
  LowerInterrupt();
  phase_ = Phase::kCommand;
  command_bytes_ = 0;
  fifo_.clear();
  seek_done_ = false;
  if (!locked_) configuration_ = {};
  perpendicular_ = 0;
}

FloppyDrive* FloppyController::Selected() {
  const unsigned index = command_[1] & kDriveSelect;
  return index < kDriveCount && drives_[index].Present() ? &drives_[index] : nullptr;
}

void FloppyController::RaiseInterrupt() {
  interrupt_ = true;
  irq_.Set((digital_output_ & kDmaGate) != 0);
}

void FloppyController::LowerInterrupt() {
  interrupt_ = false;
  irq_.Set(false);
}

uint8_t FloppyController::ReadByte(uint16_t port) {
  switch (port & kPortMask) {
    case kStatusA:
      return static_cast<uint8_t>((interrupt_ ? 0x80 : 0) | 0x40);  // no second drive on the other cable
    case kStatusB:
      return static_cast<uint8_t>(0xC0 | (digital_output_ >> 4 & 3) | ((digital_output_ & 1) << 5));
    case kDigitalOutput:
      return digital_output_;
    case kTape:
      return tape_;
    case kMainStatus:
      return MainStatus();
    case kFifo:
      return ReadFifo();
    case kDigitalInput:
      return DigitalInput();
    default:
      return 0xFF;
  }
}

void FloppyController::WriteByte(uint16_t port, uint8_t value) {
  switch (port & kPortMask) {
    case kDigitalOutput:
      return WriteDigitalOutput(value);
    case kTape:
      tape_ = value & 3;
      return;
    case kMainStatus:
      return WriteRateSelect(value);
    case kFifo:
      return WriteFifo(value);
    case kDigitalInput:  // configuration control
      rate_select_ = static_cast<uint8_t>((rate_select_ & ~kRateMask) | (value & kRateMask));
      return;
    default:
      return;
  }
}

void FloppyController::WriteDigitalOutput(uint8_t value) {
  const bool ran = (digital_output_ & kNotReset) != 0, runs = (value & kNotReset) != 0;
  digital_output_ = value;
  if (ran && !runs) SoftReset();
  if (!ran && runs) {
    resets_to_report_ = (configuration_[0] & kPollingOff) ? 0 : kPollCount;
    if (resets_to_report_) RaiseInterrupt();
  }
  irq_.Set(interrupt_ && (value & kDmaGate));
}

void FloppyController::WriteRateSelect(uint8_t value) {
  rate_select_ = value & static_cast<uint8_t>(~kSoftwareReset);
  if (!(value & kSoftwareReset)) return;
  SoftReset();
  resets_to_report_ = kPollCount;
  RaiseInterrupt();
}

uint8_t FloppyController::MainStatus() const {
  if (!(digital_output_ & kNotReset)) return 0;
  switch (phase_) {
    case Phase::kCommand:
      return static_cast<uint8_t>(kRequest | (command_bytes_ ? kCommandBusy : 0));
    case Phase::kBusy:
      return kCommandBusy;
    case Phase::kFifoToGuest:
      return kRequest | kToGuest | kNonDma | kCommandBusy;
    case Phase::kFifoFromGuest:
      return kRequest | kNonDma | kCommandBusy;
    case Phase::kResult:
      break;
  }
  return kRequest | kToGuest | kCommandBusy;
}

/// The change line of the drive that is selected with its motor on.
uint8_t FloppyController::DigitalInput() {
  const unsigned index = digital_output_ & kDriveSelect;
  if (index >= kDriveCount || !(digital_output_ >> (4 + index) & 1)) return 0;
  return drives_[index].Present() && !drives_[index].DiskChange() ? 0 : 0x80;
}

void FloppyController::WriteFifo(uint8_t value) {
  if (!(digital_output_ & kNotReset)) return;
  if (phase_ == Phase::kFifoFromGuest) {
    fifo_[fifo_at_++] = value;
    if (fifo_at_ < fifo_.size()) return;
    LowerInterrupt();
    phase_ = Phase::kBusy;
    return (command_[0] & 0x1F) == 0x0D ? StoreFilled(std::move(fifo_)) : StoreSectors(std::move(fifo_));
  }
  if (phase_ != Phase::kCommand) return;
  command_[command_bytes_++] = value;
  const CommandRow* const row = FindCommand(command_[0]);
  if (row && command_bytes_ < row->bytes) return;
  command_bytes_ = 0;
  LowerInterrupt();
  phase_ = Phase::kBusy;
  row ? (this->*row->execute)() : Invalid();
}

uint8_t FloppyController::ReadFifo() {
  const bool data = phase_ == Phase::kFifoToGuest;
  if ((phase_ != Phase::kResult && !data) || fifo_at_ >= fifo_.size()) return 0;
  const uint8_t value = fifo_[fifo_at_++];
  if (!data) LowerInterrupt();  // the first result byte takes it back
  if (fifo_at_ < fifo_.size()) return value;
  if (data) {
    LowerInterrupt();
    FinishTransfer(transfer_.sectors);
  } else {
    phase_ = Phase::kCommand;
    fifo_.clear();
  }
  return value;
}

void FloppyController::Result(std::initializer_list<uint8_t> bytes, bool interrupt) {
  fifo_.assign(bytes);
  fifo_at_ = 0;
  phase_ = fifo_.empty() ? Phase::kCommand : Phase::kResult;
  if (interrupt) RaiseInterrupt();
}

void FloppyController::Invalid() { Result({kInvalid}, false); }

void FloppyController::Specify() {
  timings_ = {command_[1], command_[2]};
  Result({}, false);
}

void FloppyController::SenseDriveStatus() {
  const FloppyDrive* const drive = Selected();
  uint8_t status = static_cast<uint8_t>((command_[1] & 7) | kReady);
  if (drive && drive->Cylinder() == 0) status |= kTrack0;
  if (drive && drive->Slot().Present() && drive->Slot().ReadOnly()) status |= kWriteProtected;
  Result({status}, false);
}

void FloppyController::EndSeek(unsigned drive, uint8_t status) {
  seek_done_ = true;
  seek_status_ = static_cast<uint8_t>(status | kSeekEnd | drive);
  seek_cylinder_ = drive < kDriveCount ? drives_[drive].Cylinder() : 0;
  Result({}, true);
}

/// Without a drive track 0 is never found.
void FloppyController::Recalibrate() {
  FloppyDrive* const drive = Selected();
  if (drive) drive->Seek(0);
  EndSeek(command_[1] & kDriveSelect, drive ? 0 : kAbnormal | kEquipment);
}

void FloppyController::SeekTo() {
  if (FloppyDrive* const drive = Selected()) drive->Seek(command_[2]);
  EndSeek(command_[1] & (kDriveSelect | kHeadBit), 0);
  seek_cylinder_ = command_[2];
}

void FloppyController::SeekRelative() {
  if (FloppyDrive* const drive = Selected()) {
    const int step = (command_[0] & kOppositeDirection) ? command_[2] : -command_[2];
    drive->Seek(static_cast<unsigned>(std::max(0, drive->Cylinder() + step)));
  }
  EndSeek(command_[1] & kDriveSelect, 0);
}

/// After a reset the state of each drive is told once; then that of a seek.
void FloppyController::SenseInterrupt() {
  if (resets_to_report_ != 0) {
    const unsigned drive = kPollCount - resets_to_report_--;
    const uint8_t cylinder = drive < kDriveCount ? drives_[drive].Cylinder() : uint8_t{0};
    return Result({static_cast<uint8_t>(kPolled | drive), cylinder}, false);
  }
  if (!seek_done_) return Invalid();
  seek_done_ = false;
  Result({seek_status_, seek_cylinder_}, false);
}

void FloppyController::DumpRegisters() {
  const auto lock = static_cast<uint8_t>((locked_ ? 0x80 : 0) | perpendicular_);
  Result({drives_[0].Cylinder(), drives_[1].Cylinder(), 0, 0, timings_[0], timings_[1], transfer_.last_sector, lock,
          configuration_[0], configuration_[1]},
         false);
}

void FloppyController::Version() { Result({kEnhanced}, false); }

void FloppyController::Configure() {
  configuration_ = {command_[2], command_[3]};
  Result({}, false);
}

void FloppyController::Perpendicular() {
  perpendicular_ = command_[1] & 0x7F;
  Result({}, false);
}

void FloppyController::Lock() {
  locked_ = (command_[0] & kLockBit) != 0;
  Result({static_cast<uint8_t>(locked_ ? 0x10 : 0)}, false);
}

}  // namespace ring3
