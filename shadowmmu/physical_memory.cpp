#include "shadowmmu/physical_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <stdexcept>
#include <string>
#include <utility>

#include "monitor/cpu/fault.h"

namespace ring3 {
namespace {

/// Host huge pages need the flat view and the memfd's offsets to agree modulo this.
constexpr uint64_t kHugePage = 2u << 20;
constexpr uint64_t kVgaFirst = 0xA0000, kVgaEnd = 0xC0000;
constexpr unsigned kLargestMmioAccess = 8;

[[noreturn]] void ThrowHostError(const std::string& what) {
  throw UsageError("cannot " + what + " for guest RAM: " + std::strerror(errno));
}

void CheckSize(uint64_t bytes) {
  if (bytes >= PhysicalMemory::kMinRam && bytes <= PhysicalMemory::kMaxRam && bytes % kPageSize == 0) return;
  throw UsageError("guest RAM of " + std::to_string(bytes) + " bytes is not possible: allowed are " +
                   std::to_string(PhysicalMemory::kMinRam >> 20) + " MiB to " +
                   std::to_string(PhysicalMemory::kMaxRam >> 20) + " MiB in whole 4 KiB pages");
}

void CheckRomSize(uint64_t bytes) {
  if (bytes > PhysicalMemory::kMaxRom || bytes % kPageSize != 0)
    throw UsageError("a ROM of " + std::to_string(bytes) + " bytes is not possible");
}

/// Copies of the sizes that instructions access become one load and one store.
void Copy(void* to, const void* from, size_t bytes) {
  switch (bytes) {
    case 1:
      std::memcpy(to, from, 1);
      break;
    case 2:
      std::memcpy(to, from, 2);
      break;
    case 4:
      std::memcpy(to, from, 4);
      break;
    case 8:
      std::memcpy(to, from, 8);
      break;
    default:
      std::memcpy(to, from, bytes);
  }
}

size_t BytesOnPage(GuestPhysical address, size_t bytes) {
  return std::min<size_t>(bytes, kPageSize - address.PageOffset());
}

uint64_t ReservationBytes(uint64_t extent) { return extent + 2 * kHugePage; }

}  // namespace

PhysicalMemory::PhysicalMemory(uint64_t ram_bytes, uint64_t rom_bytes, uint64_t backed_bytes)
    : ram_bytes_(ram_bytes),
      rom_bytes_(rom_bytes),
      backed_bytes_(backed_bytes),
      kinds_(Extent() >> kPageShift),
      watched_(Extent() >> kPageShift) {
  CheckSize(ram_bytes);
  CheckRomSize(rom_bytes);
  memfd_ = memfd_create("ring3-ram", MFD_CLOEXEC);
  if (memfd_ < 0) ThrowHostError("create a memory file");
  try {
    // Offsets in the file are guest-physical addresses; what is beyond them holds backed memory while the guest has not
    // put it anywhere. Stretches between are never touched.
    if (ftruncate(memfd_, static_cast<off_t>(FileBytes())) != 0) ThrowHostError("size the memory file");
    void* reservation =
        mmap(nullptr, ReservationBytes(FileBytes()), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (reservation == MAP_FAILED) ThrowHostError("reserve address space");
    reservation_ = reservation;
    flat_ = reinterpret_cast<uint8_t*>((reinterpret_cast<uint64_t>(reservation) + kHugePage) & ~(kHugePage - 1));
    MapFlat(0, ram_bytes);
    if (rom_bytes) MapFlat(kRomEnd - rom_bytes, rom_bytes);
  } catch (...) {
    Release();
    throw;
  }
  madvise(flat_, ram_bytes, MADV_HUGEPAGE);  // only speed depends on it
  FillKind(0, ram_bytes, PageKind::kRam);
  FillKind(kVgaFirst, kVgaEnd - kVgaFirst, PageKind::kMmio);
  if (rom_bytes) FillKind(kRomEnd - rom_bytes, rom_bytes, PageKind::kRom);
}

PhysicalMemory::~PhysicalMemory() { Release(); }

void PhysicalMemory::Release() {
  if (reservation_) munmap(reservation_, ReservationBytes(FileBytes()));
  close(memfd_);
}

/// Shows a stretch of the file in the flat view.
void PhysicalMemory::MapFlat(uint64_t first, uint64_t bytes) {
  void* view = mmap(flat_ + first, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, memfd_,
                    static_cast<off_t>(first));
  if (view == MAP_FAILED) ThrowHostError("map the memory file");
}

void PhysicalMemory::FillKind(uint64_t first, uint64_t bytes, PageKind kind) {
  std::fill_n(kinds_.begin() + (first >> kPageShift), bytes >> kPageShift, kind);
}

void PhysicalMemory::SetKind(GuestPhysical first, uint64_t bytes, PageKind kind) {
  if (first.PageOffset() != 0 || bytes % kPageSize != 0 || bytes > ram_bytes_ || first.value > ram_bytes_ - bytes) {
    throw std::out_of_range("PhysicalMemory::SetKind: not whole pages of RAM");
  }
  EndAliasOf(first.value, bytes);
  FillKind(first.value, bytes, kind);
  NotifyKind(first, bytes);
}

void PhysicalMemory::AttachMmio(GuestPhysical first, uint64_t bytes, MmioDevice& device) {
  for (const MmioRange& range : mmio_) {
    if (first.value < range.first + range.bytes && range.first < first.value + bytes) {
      throw std::logic_error("PhysicalMemory::AttachMmio: two devices at one address");
    }
  }
  mmio_.push_back({first.value, bytes, &device});
  const uint64_t begin = first.Page().value;
  const uint64_t end = std::min((first.value + bytes + kPageMask) & ~uint64_t{kPageMask}, ram_bytes_);
  if (begin < end) SetKind(GuestPhysical(begin), end - begin, PageKind::kMmio);
}

void PhysicalMemory::DetachMmio(GuestPhysical first, MmioDevice& device) {
  std::erase_if(mmio_, [&](const MmioRange& range) { return range.first == first.value && range.device == &device; });
}

bool PhysicalMemory::IsFree(GuestPhysical first, uint64_t bytes) const {
  const uint64_t end = first.value + bytes;
  if (bytes == 0 || end < first.value || end > kRomEnd || first.value < ram_bytes_) return false;
  if (rom_bytes_ && end > kRomEnd - rom_bytes_) return false;
  const auto touches = [&](uint64_t other, uint64_t size) { return first.value < other + size && other < end; };
  return std::none_of(mmio_.begin(), mmio_.end(), [&](const MmioRange& r) { return touches(r.first, r.bytes); }) &&
         std::none_of(backed_.begin(), backed_.end(),
                      [&](const auto& b) { return b->attached_ && touches(b->content_, b->bytes_); });
}

BackedMemory& PhysicalMemory::AddBacked(uint64_t bytes) {
  uint64_t home = Extent();
  for (const auto& backed : backed_) home += backed->bytes_;
  if (!std::has_single_bit(bytes) || bytes < kPageSize || home + bytes > FileBytes()) {
    throw std::logic_error("PhysicalMemory::AddBacked: not a size that was promised");
  }
  MapFlat(home, bytes);
  backed_.push_back(std::unique_ptr<BackedMemory>(new BackedMemory(flat_, home, bytes)));
  return *backed_.back();
}

bool PhysicalMemory::AttachBacked(BackedMemory& backed, GuestPhysical first) {
  if (backed.attached_ && backed.content_ == first.value) return true;
  if (first.value % backed.bytes_ != 0) return false;
  const bool was_attached = std::exchange(backed.attached_, false);
  const bool free = IsFree(first, backed.bytes_);
  backed.attached_ = was_attached;
  if (!free) return false;
  DetachBacked(backed);
  for (const auto& other : backed_) {
    // A detached one may have left its bytes where this one goes.
    const bool in_the_way =
        other->content_ < first.value + backed.bytes_ && first.value < other->content_ + other->bytes_;
    if (other.get() != &backed && in_the_way) MoveContent(*other, other->home_);
  }
  MoveContent(backed, first.value);
  backed.attached_ = true;
  FillKind(first.value, backed.bytes_, PageKind::kRam);
  NotifyKind(first, backed.bytes_);
  if (backed.tracked_) NoteAll(backed);
  return true;
}

void PhysicalMemory::DetachBacked(BackedMemory& backed) {
  if (!std::exchange(backed.attached_, false)) return;
  EndAliasOf(backed.content_, backed.bytes_);
  ForgetTraps(backed);
  FillKind(backed.content_, backed.bytes_, PageKind::kMmio);
  NotifyKind(GuestPhysical(backed.content_), backed.bytes_);
}

/// The flat view of where the bytes were stays; it reads as zeros then.
void PhysicalMemory::MoveContent(BackedMemory& backed, uint64_t to) {
  const uint64_t from = backed.content_;
  if (from == to) return;
  MapFlat(to, backed.bytes_);
  const auto end = static_cast<off_t>(from + backed.bytes_);
  for (auto at = static_cast<off_t>(from); at < end;) {
    const off_t data = lseek(memfd_, at, SEEK_DATA);
    if (data < 0 || data >= end) break;
    at = std::min(lseek(memfd_, data, SEEK_HOLE), end);
    const auto offset = static_cast<uint64_t>(data);
    std::memcpy(flat_ + to + (offset - from), flat_ + offset, static_cast<size_t>(at - data));
  }
  fallocate(memfd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(from),
            static_cast<off_t>(backed.bytes_));
  backed.content_ = to;
}

void PhysicalMemory::ReplacePages(GuestPhysical first, std::span<const uint8_t> bytes) {
  NotifyContent(first, bytes.size());
  std::memcpy(Flat(first), bytes.data(), bytes.size());
}

void PhysicalMemory::AddKindListener(KindListener* listener) { kind_listeners_.push_back(listener); }

void PhysicalMemory::RemoveKindListener(KindListener* listener) { std::erase(kind_listeners_, listener); }

/// Drops translations of these pages.
void PhysicalMemory::NotifyContent(GuestPhysical first, uint64_t bytes) {
  if (!listener_) return;
  for (uint64_t at = 0; at < bytes; at += kPageSize) {
    if (IsWatched(first + at)) listener_->WatchedPageWritten(first + at, kPageSize);
  }
}

void PhysicalMemory::NotifyKind(GuestPhysical first, uint64_t bytes) {
  NotifyContent(first, bytes);
  for (KindListener* listener : kind_listeners_) listener->KindChanged(first, bytes);
}

void PhysicalMemory::Read(GuestPhysical address, std::span<uint8_t> out) {
  while (!out.empty()) {
    const size_t bytes = BytesOnPage(address, out.size());
    if (KindOf(address) == PageKind::kMmio) {
      ReadMmio(address, out.first(bytes));
    } else {
      Copy(out.data(), Flat(address), bytes);
    }
    out = out.subspan(bytes);
    address = address + bytes;
  }
}

void PhysicalMemory::Write(GuestPhysical address, std::span<const uint8_t> data) {
  while (!data.empty()) {
    const size_t bytes = BytesOnPage(address, data.size());
    switch (KindOf(address)) {
      case PageKind::kRam:
        if (!IsPlain(address)) BeforeWrite(address, bytes);
        Copy(Flat(address), data.data(), bytes);
        break;
      case PageKind::kRom:
        break;
      case PageKind::kMmio:
        WriteMmio(address, data.first(bytes));
        break;
    }
    data = data.subspan(bytes);
    address = address + bytes;
  }
}

void PhysicalMemory::SetWatched(GuestPhysical page, bool watched) {
  if (page.value >= Extent()) return;
  const bool before = IsWatched(page);
  SetWatch(page, kWatchCode, watched);
  if (!watched || before) return;
  for (KindListener* listener : kind_listeners_) listener->PageWatched(page.Page());
}

void PhysicalMemory::SetWatch(GuestPhysical page, uint8_t bit, bool on) {
  uint8_t& bits = watched_[page.PageNumber()];
  bits = static_cast<uint8_t>(on ? bits | bit : bits & ~bit);
}

void PhysicalMemory::BeforeWrite(GuestPhysical address, size_t bytes) {
  if (IsTrapped(address)) NoteWrite(address);
  if (listener_ && IsWatched(address)) listener_->WatchedPageWritten(address, static_cast<uint32_t>(bytes));
}

const PhysicalMemory::MmioRange* PhysicalMemory::RangeAt(GuestPhysical address) const {
  for (const MmioRange& range : mmio_) {
    if (address.value - range.first < range.bytes) return &range;
  }
  return nullptr;
}

/// Size of the access that starts at `address`: naturally aligned, inside its device. Bytes without a device go singly,
/// because a device may begin at the next one.
unsigned PhysicalMemory::MmioPiece(const MmioRange* range, GuestPhysical address, size_t bytes) {
  if (!range) return 1;
  const uint64_t left = std::min<uint64_t>(bytes, range->bytes - (address.value - range->first));
  const uint64_t aligned = address.value | kLargestMmioAccess;
  return static_cast<unsigned>(std::min(aligned & -aligned, std::bit_floor(left)));
}

void PhysicalMemory::ReadMmio(GuestPhysical address, std::span<uint8_t> out) const {
  while (!out.empty()) {
    const MmioRange* range = RangeAt(address);
    const unsigned size = MmioPiece(range, address, out.size());
    const uint64_t value = range ? range->device->ReadMmio(address, size) : ~uint64_t{0};
    std::memcpy(out.data(), &value, size);
    out = out.subspan(size);
    address = address + size;
  }
}

void PhysicalMemory::WriteMmio(GuestPhysical address, std::span<const uint8_t> data) const {
  while (!data.empty()) {
    const MmioRange* range = RangeAt(address);
    const unsigned size = MmioPiece(range, address, data.size());
    uint64_t value = 0;
    std::memcpy(&value, data.data(), size);
    if (range) range->device->WriteMmio(address, size, value);
    data = data.subspan(size);
    address = address + size;
  }
}

}  // namespace ring3
