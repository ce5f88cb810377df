#include "devices/ide/ata_disk.h"

#include <algorithm>

#include "devices/block/image.h"

namespace ring3 {
namespace {

constexpr uint32_t kPioChunkSectors = 256;   // asked of the disk at once: 128 KiB
constexpr uint32_t kDmaChunkSectors = 2048;  // 1 MiB

constexpr uint8_t kRecalibrateFirst = 0x10, kRecalibrateLast = 0x1F, kSeekFirst = 0x70, kSeekLast = 0x7F;
constexpr uint8_t kVerify = 0x40, kVerifyOld = 0x41, kVerifyExt = 0x42;
constexpr uint8_t kInitializeParameters = 0x91, kSmart = 0xB0, kSetMultiple = 0xC6, kReadBuffer = 0xE4, kFlush = 0xE7,
                  kWriteBuffer = 0xE8, kFlushExt = 0xEA, kReadNativeMax = 0xF8, kReadNativeMaxExt = 0x27;
constexpr uint8_t kActive = 0xFF;  // CHECK POWER MODE's answer
// SET FEATURES.
constexpr uint8_t kEnableWriteCache = 0x02, kSetTransferMode = 0x03, kDisableWriteCache = 0x82,
                  kDisableLookAhead = 0x55, kEnableLookAhead = 0xAA, kKeepSettings = 0x66, kRestoreSettings = 0xCC;

}  // namespace

/// The commands that transfer sectors.
struct AtaDisk::CommandRow {
  uint8_t command;
  Data data;
  bool extended, dma, multiple, through;
};

const AtaDisk::CommandRow* AtaDisk::FindCommand(uint8_t command) {
  static constexpr CommandRow kRows[] = {
      // command, direction, 48-bit, DMA, multiple, through the cache
      {0x20, Data::kRead, false, false, false, false},  {0x21, Data::kRead, false, false, false, false},
      {0x24, Data::kRead, true, false, false, false},   {0x25, Data::kRead, true, true, false, false},
      {0x29, Data::kRead, true, false, true, false},    {0x30, Data::kWrite, false, false, false, false},
      {0x31, Data::kWrite, false, false, false, false}, {0x34, Data::kWrite, true, false, false, false},
      {0x35, Data::kWrite, true, true, false, false},   {0x39, Data::kWrite, true, false, true, false},
      {0x3C, Data::kWrite, false, false, false, true},  {0x3D, Data::kWrite, true, true, false, true},
      {0xC4, Data::kRead, false, false, true, false},   {0xC5, Data::kWrite, false, false, true, false},
      {0xC8, Data::kRead, false, true, false, false},   {0xC9, Data::kRead, false, true, false, false},
      {0xCA, Data::kWrite, false, true, false, false},  {0xCB, Data::kWrite, false, true, false, false},
      {0xCE, Data::kWrite, true, false, true, true},
  };
  const auto found =
      std::find_if(std::begin(kRows), std::end(kRows), [=](auto& row) { return row.command == command; });
  return found == std::end(kRows) ? nullptr : found;
}

AtaDisk::AtaDisk(std::unique_ptr<Disk> disk, const DiskGeometry& geometry, Identity identity)
    : disk_(std::move(disk)),
      sectors_(disk_->SizeBytes() / kSectorBytes),
      geometry_(geometry),
      translation_(geometry),
      identity_(std::move(identity)) {}

void AtaDisk::HardReset() {
  translation_ = geometry_;
  multiple_ = kMostMultiple;
  transfer_mode_ = 0;
  write_cache_ = look_ahead_ = true;
  SoftReset();
}

void AtaDisk::SoftReset() {
  transfer_ = {};
  IdeDrive::SoftReset();
}

IdeDrive::Signature AtaDisk::SignatureBytes() const { return {0, 0, ata::kDrdy | ata::kSeekComplete}; }

void AtaDisk::Execute(uint8_t command) {
  transfer_ = {};
  if (const CommandRow* const row = FindCommand(command)) return ExecuteTransfer(*row);
  if (command >= kRecalibrateFirst && command <= kRecalibrateLast) return Succeed();
  if (command >= kSeekFirst && command <= kSeekLast) return InRange(Address(false), 1) ? Succeed() : void();
  if (ExecutePower(command)) return;
  switch (command) {
    case kVerify:
    case kVerifyOld:
      return Verify(false);
    case kVerifyExt:
      return Verify(true);
    case kInitializeParameters:
      return SetGeometry();
    case kSmart:
      return Smart();
    case kSetMultiple:
      return SetMultiple();
    case kReadBuffer:
      return OfferData(Bytes(sector_buffer_.begin(), sector_buffer_.end()));
    case kWriteBuffer:
      transfer_.data = Data::kBuffer;
      buffer_.assign(kSectorBytes, 0);
      position_ = 0;
      return OfferBlock(kSectorBytes, false, false);
    case kFlush:
    case kFlushExt:
      return Flush();
    case ata::kIdentify:
      return OfferData(IdentifyData());
    case ata::kSetFeatures:
      return SetFeatures();
    case kReadNativeMax:
      return ReadNativeMax(false);
    case kReadNativeMaxExt:
      return ReadNativeMax(true);
    default:
      return Fail(ata::kAborted);
  }
}

/// The disk spins always: modes are accepted and cost nothing.
bool AtaDisk::ExecutePower(uint8_t command) {
  switch (command) {
    case 0x94:  // the old codes of the same commands
    case 0x95:
    case 0x96:
    case 0x97:
    case 0x99:
    case 0xE0:  // STANDBY IMMEDIATE, IDLE IMMEDIATE, STANDBY, IDLE, SLEEP
    case 0xE1:
    case 0xE2:
    case 0xE3:
    case 0xE6:
      Succeed();
      return true;
    case 0x98:
    case 0xE5:  // CHECK POWER MODE
      count_.now = kActive;
      Succeed();
      return true;
    default:
      return false;
  }
}

/// Nothing: a sector that does not exist.
std::optional<uint64_t> AtaDisk::Address(bool extended) const {
  const uint64_t low24 = low_.now | mid_.now << 8 | high_.now << 16;
  if (extended) return low24 | uint64_t{low_.before} << 24 | uint64_t{mid_.before} << 32 | uint64_t{high_.before} << 40;
  if (device_ & ata::kLba) return low24 | uint64_t{device_ & 0x0Fu} << 24;
  const uint32_t cylinder = mid_.now | high_.now << 8, head = device_ & 0x0F, sector = low_.now;
  if (sector == 0 || sector > translation_.sectors || head >= translation_.heads) return std::nullopt;
  return (uint64_t{cylinder} * translation_.heads + head) * translation_.sectors + sector - 1;
}

void AtaDisk::PutAddress(uint64_t lba) {
  const auto byte = [lba](unsigned index) { return static_cast<uint8_t>(lba >> (8 * index)); };
  if (transfer_.extended) {
    low_ = {byte(0), byte(3)};
    mid_ = {byte(1), byte(4)};
    high_ = {byte(2), byte(5)};
  } else if (device_ & ata::kLba) {
    low_.now = byte(0), mid_.now = byte(1), high_.now = byte(2);
    device_ = static_cast<uint8_t>((device_ & 0xF0) | (byte(3) & 0x0F));
  } else {
    const uint64_t track = lba / translation_.sectors, cylinder = track / translation_.heads;
    low_.now = static_cast<uint8_t>(lba % translation_.sectors + 1);
    mid_.now = static_cast<uint8_t>(cylinder);
    high_.now = static_cast<uint8_t>(cylinder >> 8);
    device_ = static_cast<uint8_t>((device_ & 0xF0) | (track % translation_.heads));
  }
}

uint32_t AtaDisk::SectorCount(bool extended) const {
  const uint32_t count = extended ? count_.now | uint32_t{count_.before} << 8 : count_.now;
  if (count != 0) return count;
  return extended ? 65536 : 256;
}

/// Fails the command otherwise.
bool AtaDisk::InRange(std::optional<uint64_t> lba, uint32_t count) {
  if (lba && *lba < sectors_ && count <= sectors_ - *lba) return true;
  Fail(ata::kIdNotFound);
  return false;
}

void AtaDisk::FailAt(uint64_t lba, uint8_t error) {
  PutAddress(lba);
  transfer_ = {};
  Fail(error);
}

void AtaDisk::ExecuteTransfer(const CommandRow& row) {
  if (row.multiple && multiple_ == 0) return Fail(ata::kAborted);
  if (row.data == Data::kWrite && disk_->ReadOnly()) return Fail(ata::kAborted);
  const auto lba = Address(row.extended);
  const uint32_t count = SectorCount(row.extended);
  if (!InRange(lba, count)) return;
  transfer_ = {.data = row.data,
               .lba = *lba,
               .left = count,
               .block_sectors = row.multiple ? uint32_t{multiple_} : 1,
               .dma = row.dma,
               .extended = row.extended,
               .through = row.through};
  row.data == Data::kRead ? ReadChunk() : BeginWriteChunk(false);
}

void AtaDisk::ReadChunk() {
  const uint32_t sectors = std::min(transfer_.left, transfer_.dma ? kDmaChunkSectors : kPioChunkSectors);
  status_ = ata::kBsy | ata::kSeekComplete;
  buffer_.resize(sectors * kSectorBytes);
  position_ = 0;
  disk_->Read(transfer_.lba * kSectorBytes, std::move(buffer_), Guarded([this](int error, Bytes bytes) {
                buffer_ = std::move(bytes);
                if (error) return FailAt(transfer_.lba, ata::kUncorrectable);
                transfer_.dma ? WaitForDma(Wait::kToMemory) : OfferSectors(true);
              }));
}

/// The next block of what was read, or of what is to be written.
void AtaDisk::OfferSectors(bool interrupt) {
  OfferBlock(position_ + transfer_.block_sectors * kSectorBytes, transfer_.data == Data::kRead, interrupt);
}

void AtaDisk::BeginWriteChunk(bool interrupt) {
  const uint32_t sectors = std::min(transfer_.left, transfer_.dma ? kDmaChunkSectors : kPioChunkSectors);
  buffer_.resize(sectors * kSectorBytes);
  position_ = 0;
  transfer_.dma ? WaitForDma(Wait::kFromMemory) : OfferSectors(interrupt);
}

void AtaDisk::BlockDone() {
  switch (transfer_.data) {
    case Data::kNone:
      return;  // IDENTIFY and the like
    case Data::kBuffer:
      std::copy(buffer_.begin(), buffer_.end(), sector_buffer_.begin());
      return Succeed();
    case Data::kWrite:
      return position_ < buffer_.size() ? OfferSectors(true) : WriteChunk();
    case Data::kRead:
      if (position_ < buffer_.size()) return OfferSectors(true);
      transfer_.left -= static_cast<uint32_t>(buffer_.size() / kSectorBytes);
      transfer_.lba += buffer_.size() / kSectorBytes;
      return transfer_.left ? ReadChunk() : EndTransfer(false);
  }
}

void AtaDisk::DmaReady() {
  const auto rest = std::span(buffer_).subspan(position_);
  if (transfer_.data == Data::kRead) {
    position_ += BusMaster().ToMemory(rest);
    if (position_ < buffer_.size()) return WaitForDma(Wait::kToMemory);
    transfer_.left -= static_cast<uint32_t>(buffer_.size() / kSectorBytes);
    transfer_.lba += buffer_.size() / kSectorBytes;
    transfer_.left ? ReadChunk() : EndTransfer(true);
  } else {
    position_ += BusMaster().FromMemory(rest);
    position_ < buffer_.size() ? WaitForDma(Wait::kFromMemory) : WriteChunk();
  }
}

void AtaDisk::WriteChunk() {
  status_ = ata::kBsy | ata::kSeekComplete;
  disk_->Write(transfer_.lba * kSectorBytes, std::move(buffer_), Guarded([this](int error, Bytes bytes) {
                 buffer_ = std::move(bytes);
                 error ? FailAt(transfer_.lba, ata::kUncorrectable) : ChunkWritten();
               }));
}

void AtaDisk::ChunkWritten() {
  transfer_.left -= static_cast<uint32_t>(buffer_.size() / kSectorBytes);
  transfer_.lba += buffer_.size() / kSectorBytes;
  if (transfer_.left) return BeginWriteChunk(true);
  if (!transfer_.through && write_cache_) return EndTransfer(true);
  disk_->Flush(Guarded(
      [this](int error, Bytes) { error ? FailAt(transfer_.lba - 1, ata::kUncorrectable) : EndTransfer(true); }));
}

void AtaDisk::EndTransfer(bool interrupt) {
  PutAddress(transfer_.lba - 1);
  count_ = {};
  if (transfer_.dma) BusMaster().Finish();
  transfer_ = {};
  status_ = ata::kDrdy | ata::kSeekComplete;
  if (interrupt) Interrupt();
}

/// Reads the sectors and forgets them, in pieces.
void AtaDisk::Verify(bool extended) {
  const auto lba = Address(extended);
  const uint32_t count = SectorCount(extended);
  if (!InRange(lba, count)) return;
  status_ = ata::kBsy | ata::kSeekComplete;
  transfer_ = {.lba = *lba, .left = count, .extended = extended};
  // Answers come in order, so that of the last piece ends the command.
  for (uint32_t at = 0; at < count; at += kDmaChunkSectors) {
    const uint32_t sectors = std::min(count - at, kDmaChunkSectors);
    disk_->Read((*lba + at) * kSectorBytes, Bytes(sectors * kSectorBytes), Guarded([this, sectors](int error, Bytes) {
                  if (transfer_.left == 0) return;  // it has failed
                  if (error) return FailAt(transfer_.lba, ata::kUncorrectable);
                  transfer_.lba += sectors;
                  transfer_.left -= sectors;
                  if (transfer_.left == 0) EndTransfer(true);
                }));
  }
}

void AtaDisk::Flush() {
  status_ = ata::kBsy | ata::kSeekComplete;
  disk_->Flush(Guarded([this](int error, Bytes) { error ? Fail(ata::kAborted) : Succeed(); }));
}

/// One block of an answer that is not sectors.
void AtaDisk::OfferData(Bytes data) {
  buffer_ = std::move(data);
  position_ = 0;
  OfferBlock(buffer_.size(), true, true);
}

void AtaDisk::SetMultiple() {
  const uint8_t count = count_.now;
  if (count > kMostMultiple || (count & (count - 1)) != 0) return Fail(ata::kAborted);
  multiple_ = count;
  Succeed();
}

void AtaDisk::SetGeometry() {
  const uint32_t heads = (device_ & 0x0Fu) + 1, sectors = count_.now;
  if (sectors == 0 || sectors > 63) return Fail(ata::kAborted);
  const uint64_t cylinders = std::min<uint64_t>(sectors_ / (heads * sectors), 65535);
  translation_ = {static_cast<uint32_t>(cylinders), heads, sectors};
  Succeed();
}

void AtaDisk::SetFeatures() {
  switch (features_.now) {
    case kEnableWriteCache:
      write_cache_ = true;
      return Succeed();
    case kDisableWriteCache:
      write_cache_ = false;
      return Flush();
    case kEnableLookAhead:
    case kDisableLookAhead:
      look_ahead_ = features_.now == kEnableLookAhead;
      return Succeed();
    case kKeepSettings:
    case kRestoreSettings:
      return Succeed();
    case kSetTransferMode:
      return SetTransferMode(count_.now);
    default:
      return Fail(ata::kAborted);
  }
}

/// PIO up to 4, multiword DMA up to 2, Ultra DMA up to 5.
void AtaDisk::SetTransferMode(uint8_t mode) {
  const unsigned kind = mode >> 3, number = mode & 7;
  const bool known = (kind == 0 && number <= 1) || (kind == 1 && number <= 4) || (kind == 4 && number <= 2) ||
                     (kind == 8 && number <= 5);
  if (!known) return Fail(ata::kAborted);
  if (kind >= 4) transfer_mode_ = mode;
  Succeed();
}

void AtaDisk::ReadNativeMax(bool extended) {
  if (!extended && !(device_ & ata::kLba)) return Fail(ata::kAborted);
  transfer_.extended = extended;
  PutAddress(extended ? sectors_ - 1 : std::min(sectors_, kLba28Sectors) - 1);
  Succeed();
}

}  // namespace ring3
