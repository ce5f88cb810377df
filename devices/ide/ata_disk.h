// An ATA hard disk (ATA/ATAPI-6, T13/1410D; older CHS commands from ATA-3, X3T10/2008D).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "devices/block/disk.h"
#include "devices/ide/disk_geometry.h"
#include "devices/ide/ide_drive.h"

namespace ring3 {

class AtaDisk final : public IdeDrive {
 public:
  struct Identity {
    std::string model, serial, firmware;  // at most 40, 20 and 8 characters
  };

  AtaDisk(std::unique_ptr<Disk> disk, const DiskGeometry& geometry, Identity identity);

  Disk& GetDisk() { return *disk_; }
  const DiskGeometry& Geometry() const { return geometry_; }
  uint64_t Sectors() const { return sectors_; }
  void HardReset() override;
  void SoftReset() override;

 protected:
  void Execute(uint8_t command) override;
  void BlockDone() override;
  void DmaReady() override;
  Signature SignatureBytes() const override;

 private:
  static constexpr uint64_t kLba28Sectors = 0x0FFF'FFFF;  // what 28 bits can address
  static constexpr uint8_t kMostMultiple = 16;
  enum class Data : uint8_t { kNone, kRead, kWrite, kBuffer };
  /// A read or write on its way.
  struct Transfer {
    Data data = Data::kNone;
    uint64_t lba = 0;
    uint32_t left = 0;           // sectors that the disk has not answered for
    uint32_t block_sectors = 1;  // a block of data is so long
    bool dma = false;
    bool extended = false;  // 48-bit addresses
    bool through = false;   // the data must be on the medium before the end
  };
  struct CommandRow;

  static const CommandRow* FindCommand(uint8_t command);
  bool ExecutePower(uint8_t command);
  void ExecuteTransfer(const CommandRow& row);
  void Verify(bool extended);
  std::optional<uint64_t> Address(bool extended) const;
  uint32_t SectorCount(bool extended) const;
  bool InRange(std::optional<uint64_t> lba, uint32_t count);
  void PutAddress(uint64_t lba);
  void FailAt(uint64_t lba, uint8_t error);
  void ReadChunk();
  void OfferSectors(bool interrupt);
  void BeginWriteChunk(bool interrupt);
  void WriteChunk();
  void ChunkWritten();
  void EndTransfer(bool interrupt);
  void Flush();
  void SetMultiple();
  void SetGeometry();
  void SetFeatures();
  void SetTransferMode(uint8_t mode);
  void ReadNativeMax(bool extended);
  void OfferData(Bytes data);
  Bytes IdentifyData() const;
  void StoreIdentifyFeatures(Bytes& data) const;
  // ata_smart.cpp
  void Smart();
  Bytes SmartAttributes() const;
  Bytes SmartThresholds() const;
  bool SmartLog();

  std::unique_ptr<Disk> disk_;
  const uint64_t sectors_;
  const DiskGeometry geometry_;  // what the disk says by itself
  DiskGeometry translation_;     // what the guest has set
  const Identity identity_;
  Transfer transfer_;
  uint8_t multiple_ = 16;  // sectors a block of READ MULTIPLE; 0: not set
  uint8_t transfer_mode_ = 0;
  bool write_cache_ = true, look_ahead_ = true, smart_ = true;
  std::array<uint8_t, 512> sector_buffer_{};  // READ BUFFER, WRITE BUFFER
};

}  // namespace ring3
