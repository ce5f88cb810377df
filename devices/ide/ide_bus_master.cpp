#include "devices/ide/ide_bus_master.h"

#include <algorithm>

namespace ring3 {
namespace {

constexpr unsigned kEntryBytes = 8;
constexpr uint32_t kTableBytes = 65536;  // a table does not cross such a boundary
constexpr uint32_t kEndOfTable = 0x8000'0000;
constexpr uint32_t kFullRegion = 65536;
// Registers.
constexpr unsigned kCommand = 0, kStatus = 2, kTable = 4;

}  // namespace

IdeBusMaster::IdeBusMaster(PhysicalMemory& memory, std::function<bool()> allowed)
    : memory_(memory), allowed_(std::move(allowed)) {}

void IdeBusMaster::Reset() {
  command_ = status_ = 0;
  table_ = next_entry_ = region_ = region_left_ = 0;
  entries_left_ = 0;
  last_region_ = false;
}

uint8_t IdeBusMaster::ReadRegister(unsigned index) const {
  if (index == kCommand) return command_;
  if (index == kStatus) return status_;
  if (index >= kTable) return static_cast<uint8_t>(table_ >> (8 * (index - kTable)));
  return 0;
}

void IdeBusMaster::WriteRegister(unsigned index, uint8_t value) {
  if (index == kCommand) {
    const bool start = (value & kStart) && !(command_ & kStart);
    if (!(value & kStart)) status_ &= static_cast<uint8_t>(~kActive);
    // The direction cannot change while a transfer is under way.
    command_ = static_cast<uint8_t>((value & kStart) | ((Active() ? command_ : value) & kToMemory));
    if (start) Start();
  } else if (index == kStatus) {
    status_ =
        static_cast<uint8_t>((status_ & ~kDriveCapable & ~(value & (kError | kInterrupt))) | (value & kDriveCapable));
  } else if (index >= kTable) {
    const unsigned shift = 8 * (index - kTable);
    table_ = ((table_ & ~(0xFFu << shift)) | uint32_t{value} << shift) & ~3u;
  }
}

void IdeBusMaster::Start() {
  if (!allowed_()) {
    status_ |= kError;
    return;
  }
  status_ |= kActive;
  next_entry_ = table_;
  entries_left_ = (kTableBytes - table_ % kTableBytes) / kEntryBytes;
  region_left_ = 0;
  last_region_ = false;
  if (started_) started_();
}

bool IdeBusMaster::NextRegion() {
  if (last_region_ || entries_left_ == 0) {
    status_ &= static_cast<uint8_t>(~kActive);
    return false;
  }
  uint8_t entry[kEntryBytes];
  memory_.Read(GuestPhysical(next_entry_), entry);
  next_entry_ += kEntryBytes;
  --entries_left_;
  const auto load = [&entry](unsigned at) {
    return uint32_t{entry[at]} | uint32_t{entry[at + 1]} << 8 | uint32_t{entry[at + 2]} << 16 |
           uint32_t{entry[at + 3]} << 24;
  };
  region_ = load(0) & ~1u;
  const uint32_t bytes = load(4) & 0xFFFE;
  region_left_ = bytes ? bytes : kFullRegion;
  last_region_ = (load(4) & kEndOfTable) != 0;
  return true;
}

size_t IdeBusMaster::ToMemory(std::span<const uint8_t> data) {
  size_t done = 0;
  while (done < data.size() && Active()) {
    if (region_left_ == 0 && !NextRegion()) break;
    const size_t piece = std::min<size_t>(region_left_, data.size() - done);
    memory_.Write(GuestPhysical(region_), data.subspan(done, piece));
    done += piece;
    region_ += static_cast<uint32_t>(piece);
    region_left_ -= static_cast<uint32_t>(piece);
  }
  return done;
}

size_t IdeBusMaster::FromMemory(std::span<uint8_t> into) {
  size_t done = 0;
  while (done < into.size() && Active()) {
    if (region_left_ == 0 && !NextRegion()) break;
    const size_t piece = std::min<size_t>(region_left_, into.size() - done);
    memory_.Read(GuestPhysical(region_), into.subspan(done, piece));
    done += piece;
    region_ += static_cast<uint32_t>(piece);
    region_left_ -= static_cast<uint32_t>(piece);
  }
  return done;
}

/// Regions that are left over keep the active bit set: so the guest can tell that they were more than enough.
void IdeBusMaster::Finish() {
  if (region_left_ == 0 && last_region_) status_ &= static_cast<uint8_t>(~kActive);
}

}  // namespace ring3
