// What all drives on an IDE channel have in common: the task file, data blocks and DMA (ATA/ATAPI-6, T13/1410D).
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "devices/ide/ide_bus_master.h"

namespace ring3 {

namespace ata {
// Status register.
inline constexpr uint8_t kErr = 0x01, kDrq = 0x08, kSeekComplete = 0x10, kDrdy = 0x40, kBsy = 0x80;
// Error register.
inline constexpr uint8_t kAborted = 0x04, kIdNotFound = 0x10, kUncorrectable = 0x40;
// Device register.
inline constexpr uint8_t kSecondDrive = 0x10, kLba = 0x40;
// Commands that both kinds of drives know.
inline constexpr uint8_t kDeviceReset = 0x08, kDiagnostic = 0x90, kPacket = 0xA0, kIdentifyPacket = 0xA1,
                         kIdentify = 0xEC, kSetFeatures = 0xEF;
}  // namespace ata

class IdeDrive {
 public:
  /// The registers of the command block by their offset.
  enum Register : unsigned { kData, kErrorFeatures, kCount, kLow, kMid, kHigh, kDevice, kStatusCommand };
  /// The drive's wires.
  struct Wires {
    std::function<void(bool level)> interrupt;
    IdeBusMaster* bus_master = nullptr;
  };

  virtual ~IdeDrive() = default;
  IdeDrive() = default;
  IdeDrive(const IdeDrive&) = delete;
  IdeDrive& operator=(const IdeDrive&) = delete;
  void Connect(Wires wires) { wires_ = std::move(wires); }

  /// Power-on and RESET#.
  virtual void HardReset() { SoftReset(); }
  /// SRST: what is under way is given up; the signature is in the registers.
  virtual void SoftReset();
  /// While SRST is asserted.
  void SetBusy() { status_ = ata::kBsy; }

  /// Task file registers; `high_order`: the byte written before the last (HOB).
  uint8_t ReadRegister(unsigned index, bool high_order) const;
  void WriteRegister(unsigned index, uint8_t value);
  void WriteCommand(uint8_t command);
  uint8_t Status() const { return status_; }
  /// The data register; `size` 1, 2 or 4.
  uint32_t ReadData(unsigned size);
  void WriteData(unsigned size, uint32_t value);
  /// The bus master may have become ready.
  void BusMasterStarted();

 protected:
  using Bytes = std::vector<uint8_t>;
  /// A byte and the one written before it.
  struct Pair {
    uint8_t now = 0, before = 0;
  };
  enum class Wait : uint8_t { kNothing, kToMemory, kFromMemory };

  virtual void Execute(uint8_t command) = 0;
  /// The guest has read, or written, the block that was offered.
  virtual void BlockDone() = 0;
  /// The bus master is ready for what WaitForDma() waits for.
  virtual void DmaReady() = 0;
  /// The signature's middle and high byte, and the status after a reset.
  struct Signature {
    uint8_t mid, high, status;
  };
  virtual Signature SignatureBytes() const = 0;

  void PutSignature();
  /// Ends a command. Interrupts.
  void Succeed();
  void Fail(uint8_t error);
  void Interrupt() { wires_.interrupt(true); }
  /// Lets the guest read or write buffer_ from position_ up to `end`.
  void OfferBlock(size_t end, bool to_guest, bool interrupt);
  void WaitForDma(Wait wait);
  IdeBusMaster& BusMaster() { return *wires_.bus_master; }
  /// Keeps answers to requests of before a reset away.
  template <class Function>
  auto Guarded(Function function) {
    return [this, era = era_, function](int error, Bytes bytes) {
      if (era == era_) function(error, std::move(bytes));
    };
  }
  void GiveUp();

  uint8_t status_ = 0, error_ = 1;
  Pair features_, count_, low_, mid_, high_;
  uint8_t device_ = 0;
  Bytes buffer_;
  size_t position_ = 0;

 private:
  Wires wires_;
  size_t block_end_ = 0;
  bool to_guest_ = false;
  Wait wait_ = Wait::kNothing;
  unsigned era_ = 0;
};

/// Stores text as IDENTIFY data does: two characters a word, the first in the high byte, padded with spaces.
void StoreIdentifyText(std::span<uint8_t> data, unsigned word, unsigned words, const std::string& text);
void StoreIdentifyWord(std::span<uint8_t> data, unsigned word, unsigned value);
/// The checksum in word 255.
void SealIdentify(std::span<uint8_t> data);

}  // namespace ring3
