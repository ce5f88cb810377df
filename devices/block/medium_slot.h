// Where a removable medium goes: what the floppy and CD drives read and write.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "devices/block/disk.h"

namespace ring3 {

/// Requests to a medium that is taken out meanwhile are still carried out and answered.
class MediumSlot {
 public:
  bool Present() const { return disk_ != nullptr; }
  /// 0 and true without a medium.
  uint64_t SizeBytes() const { return disk_ ? disk_->SizeBytes() : 0; }
  bool ReadOnly() const { return !disk_ || disk_->ReadOnly(); }

  /// Replaces a medium that is there.
  void Insert(std::unique_ptr<Disk> disk);
  void Remove();
  /// Called after each change.
  void OnChange(std::function<void()> changed) { changed_ = std::move(changed); }

  /// As the disk's; there must be a medium.
  void Read(uint64_t offset, Disk::Bytes buffer, Disk::Done done);
  void Write(uint64_t offset, Disk::Bytes data, Disk::Done done);
  void Flush(Disk::Done done);

 private:
  /// A medium that was taken out and still has requests to answer.
  struct Leaving {
    std::unique_ptr<Disk> disk;
    unsigned unanswered;
  };
  Disk::Done Counted(Disk::Done done);
  void Answered(const Disk* disk);
  void TakeOut();

  std::unique_ptr<Disk> disk_;
  unsigned unanswered_ = 0;
  std::vector<Leaving> leaving_;
  std::function<void()> changed_;
};

}  // namespace ring3
