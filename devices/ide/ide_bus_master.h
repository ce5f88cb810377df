// One channel's bus-master registers and its walk along the table of memory regions (Intel 82371SB, 2.6; SFF-8038i).
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "shadowmmu/physical_memory.h"

namespace ring3 {

class IdeBusMaster {
 public:
  static constexpr unsigned kRegisterCount = 8;

  /// `allowed`: the function may access memory at all.
  IdeBusMaster(PhysicalMemory& memory, std::function<bool()> allowed);
  void Reset();
  /// Called when the guest has set the start bit.
  void OnStart(std::function<void()> started) { started_ = std::move(started); }

  uint8_t ReadRegister(unsigned index) const;
  void WriteRegister(unsigned index, uint8_t value);

  /// A transfer is under way in that direction; regions are left.
  bool ReadyToMemory() const { return Active() && (command_ & kToMemory); }
  bool ReadyFromMemory() const { return Active() && !(command_ & kToMemory); }
  /// How many bytes the regions took or gave. Fewer than asked for: the table is at its end, and Ready is over.
  size_t ToMemory(std::span<const uint8_t> data);
  size_t FromMemory(std::span<uint8_t> into);
  /// The drive has no more to transfer.
  void Finish();
  /// The channel's interrupt line rose.
  void NoteInterrupt() { status_ |= kInterrupt; }

 private:
  static constexpr uint8_t kStart = 0x01, kToMemory = 0x08;                   // command
  static constexpr uint8_t kActive = 0x01, kError = 0x02, kInterrupt = 0x04;  // status
  static constexpr uint8_t kDriveCapable = 0x60;
  bool Active() const { return (status_ & kActive) != 0; }
  bool NextRegion();
  void Start();

  PhysicalMemory& memory_;
  std::function<bool()> allowed_;
  std::function<void()> started_;
  uint8_t command_ = 0, status_ = 0;
  uint32_t table_ = 0;
  uint32_t next_entry_ = 0;  // address of the descriptor to read next
  unsigned entries_left_ = 0;
  uint32_t region_ = 0, region_left_ = 0;
  bool last_region_ = false;
};

}  // namespace ring3
