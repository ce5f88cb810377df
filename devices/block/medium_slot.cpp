#include "devices/block/medium_slot.h"

#include <algorithm>
#include <utility>

namespace ring3 {

void MediumSlot::Insert(std::unique_ptr<Disk> disk) {
  TakeOut();
  disk_ = std::move(disk);
  if (changed_) changed_();
}

void MediumSlot::Remove() {
  TakeOut();
  if (changed_) changed_();
}

void MediumSlot::TakeOut() {
  if (disk_ && unanswered_ != 0) leaving_.push_back({std::move(disk_), unanswered_});
  disk_.reset();
  unanswered_ = 0;
}

void MediumSlot::Read(uint64_t offset, Disk::Bytes buffer, Disk::Done done) {
  disk_->Read(offset, std::move(buffer), Counted(std::move(done)));
}

void MediumSlot::Write(uint64_t offset, Disk::Bytes data, Disk::Done done) {
  disk_->Write(offset, std::move(data), Counted(std::move(done)));
}

void MediumSlot::Flush(Disk::Done done) { disk_->Flush(Counted(std::move(done))); }

Disk::Done MediumSlot::Counted(Disk::Done done) {
  ++unanswered_;
  return [this, disk = disk_.get(), done = std::move(done)](int error, Disk::Bytes bytes) {
    Answered(disk);
    done(error, std::move(bytes));
  };
}

void MediumSlot::Answered(const Disk* disk) {
  if (disk == disk_.get()) {
    --unanswered_;
    return;
  }
  const auto found =
      std::find_if(leaving_.begin(), leaving_.end(), [=](auto& each) { return each.disk.get() == disk; });
  if (found != leaving_.end() && --found->unanswered == 0) leaving_.erase(found);
}

}  // namespace ring3
