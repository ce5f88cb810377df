// The Intel 82077AA floppy disk controller in PC/AT mode (Intel data sheet 290166).
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "devices/byte_port_device.h"
#include "devices/dma8237.h"
#include "devices/floppy/floppy_drive.h"
#include "devices/irq.h"

namespace ring3 {

/// Moves data by DMA channel 2, or through the FIFO. Nothing takes time but the image's file. Left out: scan commands,
/// deleted data marks, tape drives, sectors of other sizes than 512 bytes.
class FloppyController final : public BytePortDevice {
 public:
  static constexpr unsigned kDriveCount = 2;
  static constexpr unsigned kDmaChannel = 2;

  FloppyController(IrqLine irq, DmaControllers& dma, std::array<FloppyDriveType, kDriveCount> drives);
  FloppyDrive& Drive(unsigned index) { return drives_.at(index); }
  void Reset();

 protected:
  /// Ports by their lowest three bits; 6 belongs to the IDE channel.
  uint8_t ReadByte(uint16_t port) override;
  void WriteByte(uint16_t port, uint8_t value) override;

 private:
  using Bytes = std::vector<uint8_t>;
  enum class Phase : uint8_t { kCommand, kBusy, kFifoToGuest, kFifoFromGuest, kResult };
  struct CommandRow;
  /// The operands of a command that transfers data, and where it has got to.
  struct Transfer {
    uint8_t cylinder = 0, head = 0;  // of the next sector, as its number below
    uint8_t under_head = 0;          // the head that was used last
    uint8_t sector = 0;
    uint8_t size_code = 0, last_sector = 0;
    bool both_heads = false, reached_count = false;
    uint64_t first = 0;    // sector of the image
    uint32_t sectors = 0;  // asked of the image
    uint32_t moved = 0;
  };

  static const CommandRow* FindCommand(uint8_t first_byte);
  FloppyDrive* Selected();
  void SoftReset();
  void WriteDigitalOutput(uint8_t value);
  void WriteRateSelect(uint8_t value);
  uint8_t MainStatus() const;
  uint8_t DigitalInput();
  void WriteFifo(uint8_t value);
  uint8_t ReadFifo();
  void Result(std::initializer_list<uint8_t> bytes, bool interrupt);
  void RaiseInterrupt();
  void LowerInterrupt();

  // Commands without data.
  void Specify();
  void SenseDriveStatus();
  void Recalibrate();
  void SenseInterrupt();
  void DumpRegisters();
  void SeekTo();
  void SeekRelative();
  void Version();
  void Configure();
  void Perpendicular();
  void Lock();
  void ReadId();
  void Invalid();
  void EndSeek(unsigned drive, uint8_t status);

  // floppy_transfer.cpp
  void ReadData();
  void WriteData();
  void Verify();
  void ReadTrack();
  void FormatTrack();
  bool BeginTransfer(bool writes);
  uint8_t CheckMedium(bool writes) const;
  uint32_t SectorsAhead() const;
  void LoadSectors(bool verify_only);
  void SectorsLoaded(Bytes bytes);
  void TakeFromMemory();
  void StoreSectors(Bytes bytes);
  void StoreFilled(Bytes ids);
  void FillNext(std::vector<uint64_t> places, uint8_t filler);
  void FinishTransfer(uint32_t sectors_done);
  void FailTransfer(uint8_t status1, uint8_t status2);
  void EndWithStatus(uint8_t status0, uint8_t status1, uint8_t status2);
  template <class Function>
  auto Guarded(Function function) {
    return [this, era = era_, function](int error, Bytes bytes) {
      if (era == era_) function(error, std::move(bytes));
    };
  }

  IrqLine irq_;
  DmaControllers& dma_;
  std::array<FloppyDrive, kDriveCount> drives_;

  uint8_t digital_output_ = 0, rate_select_ = 0, tape_ = 0;
  std::array<uint8_t, 2> timings_{};        // SPECIFY
  std::array<uint8_t, 2> configuration_{};  // CONFIGURE
  uint8_t perpendicular_ = 0;
  bool locked_ = false, interrupt_ = false;
  unsigned resets_to_report_ = 0;  // drives whose state SENSE INTERRUPT has not told after a reset
  uint8_t seek_status_ = 0;        // of the seek that SENSE INTERRUPT has not told
  uint8_t seek_cylinder_ = 0;
  bool seek_done_ = false;

  Phase phase_ = Phase::kCommand;
  std::array<uint8_t, 9> command_{};
  unsigned command_bytes_ = 0;
  Bytes fifo_;  // results, or data in non-DMA mode
  size_t fifo_at_ = 0;
  Transfer transfer_;
  uint8_t next_id_ = 0;  // the sector that READ ID meets next
  unsigned era_ = 0;
};

}  // namespace ring3
