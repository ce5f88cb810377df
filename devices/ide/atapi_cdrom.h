// A CD-ROM drive behind the ATA packet interface (ATA/ATAPI-6, T13/1410D; SCSI MMC-3 and SPC-2 for its commands).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "devices/block/medium_slot.h"
#include "devices/ide/ide_drive.h"
#include "devices/ide/scsi.h"

namespace ring3 {

/// Discs have one data track of 2048-byte sectors. Left out: audio, raw sectors, writing, several sessions.
class AtapiCdrom final : public IdeDrive {
 public:
  struct Identity {
    std::string model, serial, firmware;  // at most 40, 20 and 8 characters
  };

  explicit AtapiCdrom(Identity identity);

  /// Closes the tray with this disc in it; one that is there goes.
  void Insert(std::unique_ptr<Disk> disc);
  /// Opens the tray and takes the disc out. A guest that has locked the tray is asked to open it, unless `force`; then
  /// the answer is false.
  bool Eject(bool force);
  bool HasDisc() const { return slot_.Present(); }
  uint64_t DiscBytes() const { return slot_.SizeBytes(); }
  bool TrayOpen() const { return tray_open_; }
  bool Locked() const { return locked_; }
  /// Told when the guest, or Eject(), opens or closes the tray.
  void OnTray(std::function<void(bool open)> moved) { tray_moved_ = std::move(moved); }

  void HardReset() override;
  void SoftReset() override;

 protected:
  void Execute(uint8_t command) override;
  void BlockDone() override;
  void DmaReady() override;
  Signature SignatureBytes() const override;

 private:
  using Packet = std::array<uint8_t, 12>;
  enum class Phase : uint8_t { kIdle, kPacket, kData };
  enum class MediaEvent : uint8_t { kNone, kEjectRequest, kNewMedia, kRemoval };
  struct CommandRow;

  // The packet protocol.
  void BeginPacket();
  void EndPacket();
  void FailPacket(const scsi::Sense& sense);
  void Reply(Bytes data, uint32_t allocation);
  void SendReply();
  void OfferReply();
  void ReplySent();
  Bytes IdentifyData() const;
  void SetFeatures();
  void Abort();

  // Commands.
  static const CommandRow* FindCommand(uint8_t opcode);
  void ExecutePacket();
  std::optional<scsi::Sense> NotReady();
  void TestUnitReady() { EndPacket(); }
  void RequestSense();
  void Inquiry();
  void ModeSense();
  void StartStopUnit();
  void PreventAllow();
  void ReadCapacity();
  void Read();
  void ReadCd();
  void ReadSectors(uint32_t lba, uint32_t count);
  void ReadChunk();
  void Seek();
  void ReadSubChannel();
  void ReadToc();
  void ReadHeader();
  void GetConfiguration();
  void GetEventStatus();
  void ReadDiscInformation();
  void ReadTrackInformation();
  void SetCdSpeed() { EndPacket(); }
  void MechanismStatus();

  Bytes ModePages(uint8_t page) const;
  Bytes SimpleToc(bool msf, uint8_t first_track) const;
  Bytes SessionToc(bool msf) const;
  Bytes RawToc() const;
  void StoreAddress(Bytes& data, uint32_t lba, bool msf) const;
  uint32_t Blocks() const;
  void SetTray(bool open);

  const Identity identity_;
  MediumSlot slot_;
  std::function<void(bool open)> tray_moved_;
  bool tray_open_ = false, locked_ = false;
  MediaEvent event_ = MediaEvent::kNone;
  std::optional<scsi::Sense> attention_ = scsi::kPowerOn;  // reported once, before anything else
  scsi::Sense sense_ = scsi::kNoSense;

  Phase phase_ = Phase::kIdle;
  Packet packet_{};
  bool dma_ = false;
  uint32_t byte_limit_ = 0;                    // of a block of data
  uint32_t next_block_ = 0, blocks_left_ = 0;  // of a read that goes on
  uint8_t transfer_mode_ = 0;
};

}  // namespace ring3
