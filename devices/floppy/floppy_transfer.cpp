// The commands of the floppy controller that read and write sectors.
#include <algorithm>

#include "devices/block/image.h"
#include "devices/floppy/floppy_controller.h"

namespace ring3 {
namespace {

constexpr uint8_t kHeadBit = 0x04, kMultiTrack = 0x80, kNonDma = 0x01, kRateMask = 0x03;
constexpr uint8_t kImpliedSeek = 0x40;  // CONFIGURE
constexpr uint8_t kAbnormal = 0x40;     // status register 0
// Status registers 1 and 2.
constexpr uint8_t kMissingAddressMark = 0x01, kNotWritable = 0x02, kNoData = 0x04, kOverrun = 0x10, kDataError = 0x20,
                  kEndOfCylinder = 0x80;
constexpr uint8_t kDataErrorInData = 0x20, kWrongCylinder = 0x10;
constexpr uint8_t kSectorSizeCode = 2;  // 512 bytes
constexpr unsigned kIdBytes = 4;

}  // namespace

/// What is wrong, as bits of status register 1; 0: the medium can be used.
uint8_t FloppyController::CheckMedium(bool writes) const {
  const unsigned index = command_[1] & 3;
  if (index >= kDriveCount || !drives_[index].Slot().Present()) return kMissingAddressMark;
  const FloppyDrive& drive = drives_[index];
  if (!(drive.Format().rates >> (rate_select_ & kRateMask) & 1)) return kMissingAddressMark;
  if (writes && drive.Slot().ReadOnly()) return kNotWritable;
  return 0;
}

void FloppyController::EndWithStatus(uint8_t status0, uint8_t status1, uint8_t status2) {
  dma_.SetRequest(kDmaChannel, false);
  const auto drive_and_head = static_cast<uint8_t>((command_[1] & 3) | (transfer_.under_head & 1) << 2);
  Result({static_cast<uint8_t>(status0 | drive_and_head), status1, status2, transfer_.cylinder, transfer_.head,
          transfer_.sector, transfer_.size_code},
         true);
}

void FloppyController::FailTransfer(uint8_t status1, uint8_t status2) { EndWithStatus(kAbnormal, status1, status2); }

/// The sector under the head next; they come by one after the other.
void FloppyController::ReadId() {
  const auto head = static_cast<uint8_t>((command_[1] & kHeadBit) ? 1 : 0);
  transfer_ = {.head = head, .under_head = head, .size_code = kSectorSizeCode};
  if (const uint8_t problem = CheckMedium(false)) return FailTransfer(problem, 0);
  const FloppyDrive& drive = drives_[command_[1] & 3];
  transfer_.cylinder = drive.Cylinder();
  if (drive.Cylinder() >= drive.Format().cylinders || transfer_.head >= drive.Format().heads)
    return FailTransfer(kMissingAddressMark, 0);
  next_id_ = static_cast<uint8_t>(next_id_ % drive.Format().sectors + 1);
  transfer_.sector = next_id_;
  EndWithStatus(0, 0, 0);
}

/// Takes the operands; false: the command has failed.
bool FloppyController::BeginTransfer(bool writes) {
  transfer_ = {.cylinder = command_[2],
               .head = command_[3],
               .under_head = static_cast<uint8_t>((command_[1] & kHeadBit) ? 1 : 0),
               .sector = command_[4],
               .size_code = command_[5],
               .last_sector = command_[6],
               .both_heads = (command_[0] & kMultiTrack) != 0};
  const auto fail = [this](uint8_t status1, uint8_t status2) {
    FailTransfer(status1, status2);
    return false;
  };
  if (const uint8_t problem = CheckMedium(writes)) return fail(problem, 0);
  FloppyDrive& drive = drives_[command_[1] & 3];
  const FloppyFormat& format = drive.Format();
  if (configuration_[0] & kImpliedSeek) drive.Seek(transfer_.cylinder);
  if (drive.Cylinder() >= format.cylinders) return fail(kMissingAddressMark, 0);
  if (transfer_.cylinder != drive.Cylinder()) return fail(kNoData, kWrongCylinder);
  const unsigned head = (command_[1] & kHeadBit) ? 1 : 0;
  if (transfer_.head != head || head >= format.heads || transfer_.size_code != kSectorSizeCode ||
      transfer_.sector == 0 || transfer_.sector > format.sectors) {
    return fail(kNoData, 0);
  }
  transfer_.first = (uint64_t{transfer_.cylinder} * format.heads + head) * format.sectors + transfer_.sector - 1;
  transfer_.sectors = SectorsAhead();
  return true;
}

/// As many as the command can reach: to its last sector, then on the other head.
uint32_t FloppyController::SectorsAhead() const {
  const FloppyFormat& format = drives_[command_[1] & 3].Format();
  const uint32_t last = std::clamp<uint32_t>(transfer_.last_sector, transfer_.sector, format.sectors);
  uint32_t count = last - transfer_.sector + 1u;
  if (transfer_.both_heads && transfer_.head == 0 && format.heads == 2 && last == format.sectors) count += last;
  return count;
}

void FloppyController::ReadData() {
  if (BeginTransfer(false)) LoadSectors(false);
}

void FloppyController::Verify() {
  if (BeginTransfer(false)) LoadSectors(true);
}

/// From the index mark on, whatever sector is named.
void FloppyController::ReadTrack() {
  command_[4] = 1;
  ReadData();
}

void FloppyController::LoadSectors(bool verify_only) {
  const bool fifo = (timings_[1] & kNonDma) != 0;
  if (!fifo && !verify_only) {
    if (!dma_.Ready(kDmaChannel)) return FailTransfer(kOverrun, 0);
    dma_.SetRequest(kDmaChannel, true);
  }
  MediumSlot& slot = drives_[command_[1] & 3].Slot();
  const uint64_t there = slot.SizeBytes() / kSectorBytes;
  if (transfer_.first >= there) return FailTransfer(kNoData, 0);
  transfer_.sectors = static_cast<uint32_t>(std::min<uint64_t>(transfer_.sectors, there - transfer_.first));
  slot.Read(transfer_.first * kSectorBytes, Bytes(transfer_.sectors * kSectorBytes),
            Guarded([this, verify_only](int error, Bytes bytes) {
              if (error) return FailTransfer(kDataError, kDataErrorInData);
              if (!verify_only) return SectorsLoaded(std::move(bytes));
              transfer_.reached_count = true;
              FinishTransfer(transfer_.sectors);
            }));
}

void FloppyController::SectorsLoaded(Bytes bytes) {
  if (timings_[1] & kNonDma) {
    fifo_ = std::move(bytes);
    fifo_at_ = 0;
    phase_ = Phase::kFifoToGuest;
    return RaiseInterrupt();
  }
  const auto [moved, terminal_count] = dma_.ToMemory(kDmaChannel, bytes);
  transfer_.reached_count = terminal_count;
  if (moved < bytes.size() && !transfer_.reached_count) return FailTransfer(kOverrun, 0);
  FinishTransfer(static_cast<uint32_t>((moved + kSectorBytes - 1) / kSectorBytes));
}

void FloppyController::WriteData() {
  if (!BeginTransfer(true)) return;
  const uint64_t there = drives_[command_[1] & 3].Slot().SizeBytes() / kSectorBytes;
  if (transfer_.first >= there) return FailTransfer(kNoData, 0);
  transfer_.sectors = static_cast<uint32_t>(std::min<uint64_t>(transfer_.sectors, there - transfer_.first));
  TakeFromMemory();
}

/// The data of sectors, or the sectors' addresses for FORMAT TRACK.
void FloppyController::TakeFromMemory() {
  const bool format = (command_[0] & 0x1F) == 0x0D;
  Bytes bytes(format ? command_[3] * kIdBytes : transfer_.sectors * kSectorBytes);
  if (bytes.empty()) return FailTransfer(kNoData, 0);
  if (timings_[1] & kNonDma) {
    fifo_ = std::move(bytes);
    fifo_at_ = 0;
    phase_ = Phase::kFifoFromGuest;
    return RaiseInterrupt();
  }
  if (!dma_.Ready(kDmaChannel)) return FailTransfer(kOverrun, 0);
  dma_.SetRequest(kDmaChannel, true);
  const auto [moved, terminal_count] = dma_.FromMemory(kDmaChannel, bytes);
  transfer_.reached_count = terminal_count;
  if (format) return moved == bytes.size() ? StoreFilled(std::move(bytes)) : FailTransfer(kOverrun, 0);
  bytes.resize((moved + kSectorBytes - 1) / kSectorBytes * kSectorBytes);  // zeros fill the last sector
  bytes.empty() ? FailTransfer(kOverrun, 0) : StoreSectors(std::move(bytes));
}

void FloppyController::StoreSectors(Bytes bytes) {
  const auto sectors = static_cast<uint32_t>(bytes.size() / kSectorBytes);
  MediumSlot& slot = drives_[command_[1] & 3].Slot();
  if (!slot.Present()) return FailTransfer(kMissingAddressMark, 0);
  slot.Write(transfer_.first * kSectorBytes, std::move(bytes), Guarded([this, sectors](int error, Bytes) {
               error ? FailTransfer(kDataError, kDataErrorInData) : FinishTransfer(sectors);
             }));
}

/// The result names the sector behind the last one. Without a terminal count the end of the cylinder was reached.
void FloppyController::FinishTransfer(uint32_t sectors_done) {
  const FloppyFormat& format = drives_[command_[1] & 3].Format();
  const uint32_t last = std::clamp<uint32_t>(transfer_.last_sector, transfer_.sector, format.sectors);
  uint32_t next = transfer_.sector + sectors_done;
  transfer_.under_head = next > last + 1u ? 1 : transfer_.head;
  if (next > last) {
    next -= last;
    if (transfer_.both_heads && transfer_.head == 0 && format.heads == 2) {
      transfer_.head = 1;
      if (next > last) next -= last, transfer_.head = 0, ++transfer_.cylinder;
    } else {
      ++transfer_.cylinder;
      if (transfer_.both_heads) transfer_.head = 0;
    }
  }
  transfer_.sector = static_cast<uint8_t>(next);
  transfer_.reached_count ? EndWithStatus(0, 0, 0) : FailTransfer(kEndOfCylinder, 0);
}

/// Operands: size code, sectors of the track, gap, filler. The addresses of the sectors come as data.
void FloppyController::FormatTrack() {
  const auto head = static_cast<uint8_t>((command_[1] & kHeadBit) ? 1 : 0);
  transfer_ = {.head = head, .under_head = head, .size_code = command_[2]};
  if (const uint8_t problem = CheckMedium(true)) return FailTransfer(problem, 0);
  const FloppyDrive& drive = drives_[command_[1] & 3];
  transfer_.cylinder = drive.Cylinder();
  transfer_.last_sector = command_[3];
  if (transfer_.size_code != kSectorSizeCode || drive.Cylinder() >= drive.Format().cylinders ||
      transfer_.head >= drive.Format().heads || command_[3] > drive.Format().sectors) {
    return FailTransfer(kNoData, 0);
  }
  TakeFromMemory();
}

/// The sectors that are named get the filler; addresses that the diskette's format does not have are passed over.
void FloppyController::StoreFilled(Bytes ids) {
  const FloppyDrive& drive = drives_[command_[1] & 3];
  const FloppyFormat& format = drive.Format();
  const uint64_t there = drive.Slot().SizeBytes() / kSectorBytes;
  std::vector<uint64_t> places;
  for (size_t at = 0; at + kIdBytes <= ids.size(); at += kIdBytes) {
    const unsigned cylinder = ids[at], head = ids[at + 1], sector = ids[at + 2];
    if (cylinder != drive.Cylinder() || head != transfer_.head || sector == 0 || sector > format.sectors) continue;
    const uint64_t place = (uint64_t{cylinder} * format.heads + head) * format.sectors + sector - 1;
    if (place < there) places.push_back(place);
  }
  transfer_.sector = command_[3];
  FillNext(std::move(places), command_[5]);
}

void FloppyController::FillNext(std::vector<uint64_t> places, uint8_t filler) {
  if (places.empty()) return EndWithStatus(0, 0, 0);
  MediumSlot& slot = drives_[command_[1] & 3].Slot();
  if (!slot.Present()) return FailTransfer(kMissingAddressMark, 0);
  const uint64_t place = places.back();
  places.pop_back();
  slot.Write(place * kSectorBytes, Bytes(kSectorBytes, filler),
             Guarded([this, places = std::move(places), filler](int error, Bytes) {
               error ? FailTransfer(kNotWritable, 0) : FillNext(places, filler);
             }));
}

}  // namespace ring3
