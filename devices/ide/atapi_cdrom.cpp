#include "devices/ide/atapi_cdrom.h"

#include <algorithm>

#include "devices/block/image.h"

namespace ring3 {
namespace {

constexpr size_t kPacketBytes = 12;
constexpr uint32_t kChunkBlocks = 64;         // asked of the disc at once: 128 KiB
constexpr uint32_t kMostBlockBytes = 0xFFFE;  // of data, in one piece
constexpr uint8_t kDmaFeature = 0x01, kSetTransferMode = 0x03;
// Interrupt reason, in the count register.
constexpr uint8_t kReasonCommand = 0x01, kReasonToGuest = 0x02;

}  // namespace

AtapiCdrom::AtapiCdrom(Identity identity) : identity_(std::move(identity)) {}

void AtapiCdrom::HardReset() {
  transfer_mode_ = 0;
  locked_ = false;
  attention_ = scsi::kPowerOn;
  sense_ = scsi::kNoSense;
  SoftReset();
}

void AtapiCdrom::SoftReset() {
  phase_ = Phase::kIdle;
  blocks_left_ = 0;
  IdeDrive::SoftReset();
}

IdeDrive::Signature AtapiCdrom::SignatureBytes() const { return {0x14, 0xEB, 0}; }

void AtapiCdrom::Insert(std::unique_ptr<Disk> disc) {
  slot_.Insert(std::move(disc));
  attention_ = scsi::kMediumChanged;
  event_ = MediaEvent::kNewMedia;
  SetTray(false);
}

bool AtapiCdrom::Eject(bool force) {
  if (locked_ && !force) {
    event_ = MediaEvent::kEjectRequest;
    return false;
  }
  if (slot_.Present()) {
    slot_.Remove();
    event_ = MediaEvent::kRemoval;
  }
  locked_ = false;
  SetTray(true);
  return true;
}

void AtapiCdrom::SetTray(bool open) {
  if (tray_open_ == open) return;
  tray_open_ = open;
  if (tray_moved_) tray_moved_(open);
}

uint32_t AtapiCdrom::Blocks() const {
  return static_cast<uint32_t>(std::min<uint64_t>(slot_.SizeBytes() / kCdSectorBytes, UINT32_MAX));
}

void AtapiCdrom::Execute(uint8_t command) {
  phase_ = Phase::kIdle;
  switch (command) {
    case ata::kDeviceReset:
      SoftReset();
      return;
    case ata::kPacket:
      return BeginPacket();
    case ata::kIdentifyPacket:
      buffer_ = IdentifyData();
      position_ = 0;
      return OfferBlock(buffer_.size(), true, true);
    case ata::kIdentify:
    case 0x20:  // READ SECTORS: likewise answered with the signature
      PutSignature();
      return Abort();
    case ata::kSetFeatures:
      return SetFeatures();
    case 0xE0:  // power modes: always active
    case 0xE1:
    case 0xE2:
    case 0xE3:
    case 0xE6:
      return Succeed();
    case 0xE5:
      count_.now = 0xFF;
      return Succeed();
    default:
      return Abort();
  }
}

void AtapiCdrom::Abort() { Fail(ata::kAborted); }

void AtapiCdrom::SetFeatures() {
  const uint8_t kind = count_.now >> 3, number = count_.now & 7;
  const bool mode = features_.now == kSetTransferMode &&
                    ((kind <= 1 && number <= 4) || (kind == 4 && number <= 2) || (kind == 8 && number <= 5));
  if (!mode) return Abort();
  if (kind >= 4) transfer_mode_ = count_.now;
  Succeed();
}

void AtapiCdrom::BeginPacket() {
  dma_ = (features_.now & kDmaFeature) != 0;
  byte_limit_ = mid_.now | high_.now << 8;
  if (byte_limit_ == 0 || byte_limit_ > kMostBlockBytes) byte_limit_ = kMostBlockBytes;
  phase_ = Phase::kPacket;
  buffer_.assign(kPacketBytes, 0);
  position_ = 0;
  count_.now = kReasonCommand;
  OfferBlock(kPacketBytes, false, false);
}

void AtapiCdrom::BlockDone() {
  if (phase_ == Phase::kPacket) {
    std::copy_n(buffer_.begin(), kPacketBytes, packet_.begin());
    status_ = ata::kBsy;
    buffer_.clear();
    position_ = 0;
    blocks_left_ = 0;
    ExecutePacket();
  } else if (phase_ == Phase::kData) {
    position_ < buffer_.size() ? OfferReply() : ReplySent();
  }
}

void AtapiCdrom::DmaReady() {
  position_ += BusMaster().ToMemory(std::span(buffer_).subspan(position_));
  position_ < buffer_.size() ? WaitForDma(Wait::kToMemory) : ReplySent();
}

void AtapiCdrom::EndPacket() {
  if (dma_ && phase_ == Phase::kData) BusMaster().Finish();
  phase_ = Phase::kIdle;
  sense_ = scsi::kNoSense;
  count_.now = kReasonCommand | kReasonToGuest;
  Succeed();
}

void AtapiCdrom::FailPacket(const scsi::Sense& sense) {
  phase_ = Phase::kIdle;
  blocks_left_ = 0;
  sense_ = sense;
  count_.now = kReasonCommand | kReasonToGuest;
  Fail(static_cast<uint8_t>(sense.key << 4 | ata::kAborted));
}

/// At most `allocation` bytes, as the guest asks.
void AtapiCdrom::Reply(Bytes data, uint32_t allocation) {
  if (data.size() > allocation) data.resize(allocation);
  buffer_ = std::move(data);
  if (buffer_.empty()) return EndPacket();
  SendReply();
}

void AtapiCdrom::SendReply() {
  phase_ = Phase::kData;
  position_ = 0;
  if (!dma_) return OfferReply();
  count_.now = kReasonToGuest;
  WaitForDma(Wait::kToMemory);
}

/// Blocks but the last have an even number of bytes.
void AtapiCdrom::OfferReply() {
  size_t bytes = buffer_.size() - position_;
  if (bytes > byte_limit_) bytes = byte_limit_ > 1 ? byte_limit_ & ~1u : byte_limit_;
  mid_.now = static_cast<uint8_t>(bytes);
  high_.now = static_cast<uint8_t>(bytes >> 8);
  count_.now = kReasonToGuest;
  OfferBlock(position_ + bytes, true, true);
}

void AtapiCdrom::ReplySent() { blocks_left_ ? ReadChunk() : EndPacket(); }

/// The range is on the disc.
void AtapiCdrom::ReadSectors(uint32_t lba, uint32_t count) {
  next_block_ = lba;
  blocks_left_ = count;
  count ? ReadChunk() : EndPacket();
}

void AtapiCdrom::ReadChunk() {
  const uint32_t count = std::min(blocks_left_, kChunkBlocks);
  status_ = ata::kBsy;
  if (!slot_.Present()) return FailPacket(scsi::kMediumNotPresentTrayOpen);
  slot_.Read(uint64_t{next_block_} * kCdSectorBytes, Bytes(count * kCdSectorBytes),
             Guarded([this, count](int error, Bytes bytes) {
               if (error) return FailPacket(scsi::kUnrecoveredRead);
               next_block_ += count;
               blocks_left_ -= count;
               buffer_ = std::move(bytes);
               SendReply();
             }));
}

IdeDrive::Bytes AtapiCdrom::IdentifyData() const {
  Bytes data(kSectorBytes);
  const auto word = [&data](unsigned index, unsigned value) { StoreIdentifyWord(data, index, value); };
  word(0, 0x85C0);  // packet device, CD-ROM, removable, DRQ within 50 us, 12-byte packets
  StoreIdentifyText(data, 10, 10, identity_.serial);
  StoreIdentifyText(data, 23, 4, identity_.firmware);
  StoreIdentifyText(data, 27, 20, identity_.model);
  word(48, 1);
  word(49, 0x0F00);  // DMA, LBA, IORDY
  word(53, 0x0006);  // words 64-70 and 88 are valid
  word(63, 0x0007 | (transfer_mode_ >> 3 == 4 ? 0x100u << (transfer_mode_ & 7) : 0));
  word(64, 0x0003);
  for (unsigned i = 65; i <= 68; ++i) word(i, 120);
  word(71, 30);  // ns to release the bus
  word(72, 30);
  word(80, 0x0070);
  word(82, 0x0210);  // packet commands, DEVICE RESET
  word(83, 0x4000);
  word(84, 0x4000);
  word(85, 0x0210);
  word(87, 0x4000);
  word(88, 0x003F | (transfer_mode_ >> 3 == 8 ? 0x100u << (transfer_mode_ & 7) : 0));
  word(93, 0x600B);
  SealIdentify(data);
  return data;
}

}  // namespace ring3
