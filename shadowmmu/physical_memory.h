// Guest-physical memory: RAM and ROM in one memfd, seen flat by the monitor and page by page by the windows.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "shadowmmu/address.h"
#include "shadowmmu/zeroed_array.h"

namespace ring3 {

/// What lies at guest-physical addresses that are not RAM. `size` is 1, 2, 4 or 8 bytes.
class MmioDevice {
 public:
  virtual ~MmioDevice() = default;
  virtual uint64_t ReadMmio(GuestPhysical address, unsigned size) = 0;
  virtual void WriteMmio(GuestPhysical address, unsigned size, uint64_t value) = 0;
};

/// Told before bytes of a watched page change by any way but a guest store through a window.
class WriteListener {
 public:
  virtual ~WriteListener() = default;
  virtual void WatchedPageWritten(GuestPhysical address, uint32_t size) = 0;
};

enum class PageKind : uint8_t { kMmio, kRam, kRom };

/// Told after the kind of pages changed, so that mappings and cached translations of them are dropped.
class KindListener {
 public:
  virtual ~KindListener() = default;
  virtual void KindChanged(GuestPhysical first, uint64_t bytes) = 0;
  /// The page holds translated code from now on: who wrote to it past PhysicalMemory must not go on doing so.
  virtual void PageWatched(GuestPhysical) {}
  /// The next write to each of these pages, by their numbers, is to be told of by PhysicalMemory::NoteWrite before it
  /// happens.
  virtual void WritesTrapped(std::span<const uint32_t> pages) { static_cast<void>(pages); }
};

/// Memory of a device (a screen's, for one) that the guest reaches like RAM, wherever it puts it. Its content stays
/// when it is moved or detached. Made by PhysicalMemory::AddBacked, which owns it.
class BackedMemory {
 public:
  /// The bytes, attached or not. The next AttachBacked of any range may move them.
  uint8_t* Data() const { return flat_ + content_; }
  uint64_t Bytes() const { return bytes_; }
  bool Attached() const { return attached_; }
  /// Where the guest sees it; only while attached.
  GuestPhysical Address() const { return GuestPhysical(content_); }

 private:
  friend class PhysicalMemory;
  BackedMemory(uint8_t* flat, uint64_t home, uint64_t bytes)
      : flat_(flat), home_(home), content_(home), bytes_(bytes) {}

  uint8_t* flat_;
  uint64_t home_;     // offset in the memory file, beyond all guest-physical addresses
  uint64_t content_;  // offset in the memory file where the bytes are: `home_`, or a guest-physical address
  uint64_t bytes_;
  bool attached_ = false;
  bool tracked_ = false;
  std::vector<uint32_t> written_;  // pages, from the start of the content, while tracked and attached
};

class PhysicalMemory {
 public:
  /// Largest RAM size: below it everything else (MMIO, firmware) has room under 4 GiB.
  static constexpr uint64_t kMaxRam = 0xE000'0000;
  static constexpr uint64_t kMinRam = 1u << 20;
  static constexpr uint64_t kMaxRom = 256u << 10;
  static constexpr uint64_t kRomEnd = 1ull << 32;

  /// `ram_bytes` is a multiple of the page size from kMinRam to kMaxRam; `rom_bytes`, up to kMaxRom, of firmware end at
  /// 4 GiB; `backed_bytes` is what AddBacked may hand out. Throws UsageError for any other size, and where the host
  /// cannot give it. Pages cost nothing until they are touched.
  explicit PhysicalMemory(uint64_t ram_bytes, uint64_t rom_bytes = 0, uint64_t backed_bytes = 0);
  ~PhysicalMemory();
  PhysicalMemory(const PhysicalMemory&) = delete;
  PhysicalMemory& operator=(const PhysicalMemory&) = delete;

  uint64_t RamBytes() const { return ram_bytes_; }
  uint64_t RomBytes() const { return rom_bytes_; }
  /// Pages of RAM, ROM and backed memory lie below: RamBytes(), or kRomEnd where there is anything but RAM.
  uint64_t Extent() const { return rom_bytes_ || backed_bytes_ ? kRomEnd : ram_bytes_; }
  int MemoryFd() const { return memfd_; }

  /// kRam for backed, writable pages; kRom pages are backed but ignore guest writes; the rest is MMIO (all ones where
  /// no device is attached). The default: [0xA0000, 0xC0000) is MMIO, all else below RamBytes() is RAM, the last
  /// RomBytes() below 4 GiB are ROM.
  PageKind KindOf(GuestPhysical address) const {
    return address.value < Extent() ? kinds_[address.PageNumber()] : PageKind::kMmio;
  }
  /// Whole pages below RamBytes(); throws std::out_of_range for others. Kind listeners are told.
  void SetKind(GuestPhysical first, uint64_t bytes, PageKind kind);
  /// The device must outlive this object. Pages below RamBytes() that the range touches become MMIO. Throws
  /// std::logic_error when the range overlaps another device's.
  void AttachMmio(GuestPhysical first, uint64_t bytes, MmioDevice& device);
  /// Takes away the device's range that begins at `first`; pages of RAM below it stay MMIO.
  void DetachMmio(GuestPhysical first, MmioDevice& device);
  /// True when the range lies outside RAM and ROM, below 4 GiB, and no device or backed memory is there.
  bool IsFree(GuestPhysical first, uint64_t bytes) const;

  /// A power of two of bytes, at least a page; detached. Throws std::logic_error beyond the constructor's promise.
  BackedMemory& AddBacked(uint64_t bytes);
  /// Shows `backed` at `first`, a multiple of its size, as pages of RAM. Returns false, having changed nothing, when
  /// that range is not free. Kind listeners are told.
  bool AttachBacked(BackedMemory& backed, GuestPhysical first);
  void DetachBacked(BackedMemory& backed);
  /// The guest reaches `bytes` of attached `backed` from `offset` on at `first` too, instead of the device there: whole
  /// pages, one such range at a time. It ends with EndAlias() and when `backed` moves or the kind of the pages at
  /// `first` is set. Both are for between two instructions, or a port's write. Kind listeners are told.
  void ShowAlias(BackedMemory& backed, uint64_t offset, GuestPhysical first, uint64_t bytes);
  void EndAlias();
  bool HasAlias() const { return alias_.bytes != 0; }
  /// Where the bytes are that the processor reaches at `address`: elsewhere for an alias. Devices' accesses do not go
  /// through aliases.
  GuestPhysical Resolve(GuestPhysical address) const {
    const uint64_t offset = address.value - alias_.first;
    return offset < alias_.bytes ? GuestPhysical(alias_.to + offset) : address;
  }
  /// From now on TakeWritten() tells which pages of `backed` the guest writes to.
  void TrackWrites(BackedMemory& backed);
  /// Calls visit(offset) for each page that may have been written to since the last call: all of them after an attach,
  /// and always where writers are unseen. A page costs its writer a fault once between two calls.
  template <class Visit>
  void TakeWritten(BackedMemory& backed, Visit visit) {
    if (unseen_writers_ && backed.attached_) NoteAll(backed);
    for (const uint32_t page : backed.written_) visit(uint64_t{page} << kPageShift);
    if (!unseen_writers_) TrapWrites(backed);
  }
  /// The guest's stores do not fault here (KVM): every page counts as written to, always.
  void SetWritersUnseen() { unseen_writers_ = true; }
  /// True when the next write to the page has to be told of.
  bool IsTrapped(GuestPhysical page) const {
    return page.value < Extent() && (watched_[page.PageNumber()] & kWatchTrapped);
  }
  /// The page, and those around it that are likely to be written to next, are written to from now on.
  void NoteWrite(GuestPhysical page);
  /// Replaces the content of whole pages, and tells who holds translations of them. Any kind of page but MMIO.
  void ReplacePages(GuestPhysical first, std::span<const uint8_t> bytes);
  void AddKindListener(KindListener* listener);
  void RemoveKindListener(KindListener* listener);

  /// The flat view; valid for any offset below RamBytes(), in the ROM and in attached backed memory. Loader and page
  /// walker use it; it bypasses the watch.
  uint8_t* Flat(GuestPhysical address) const { return flat_ + address.value; }

  /// Any kind of page, page-crossing allowed. Writes go through the watch and reach MMIO devices. An MMIO access is
  /// split into naturally aligned pieces of 8, 4, 2 or 1 bytes.
  void Read(GuestPhysical address, std::span<uint8_t> out);
  void Write(GuestPhysical address, std::span<const uint8_t> data);

  /// Pages that hold translated code. Set and cleared by the translator; asked on each write by the monitor or a
  /// device.
  void SetWatched(GuestPhysical page, bool watched);
  bool IsWatched(GuestPhysical page) const {
    return page.value < Extent() && (watched_[page.PageNumber()] & kWatchCode);
  }
  /// True when a write to this page of RAM concerns nobody else.
  bool IsPlain(GuestPhysical page) const { return page.value >= Extent() || !watched_[page.PageNumber()]; }
  void SetWriteListener(WriteListener* listener) { listener_ = listener; }

 private:
  struct MmioRange {
    uint64_t first, bytes;
    MmioDevice* device;
  };
  struct Alias {
    uint64_t first = 0, bytes = 0, to = 0;
  };
  void EndAliasOf(uint64_t first, uint64_t bytes);
  static constexpr uint8_t kWatchCode = 1, kWatchTrapped = 2;
  void SetWatch(GuestPhysical page, uint8_t bit, bool on);
  void BeforeWrite(GuestPhysical address, size_t bytes);
  void NoteAll(BackedMemory& backed);
  void TrapWrites(BackedMemory& backed);
  void ForgetTraps(BackedMemory& backed);
  const MmioRange* RangeAt(GuestPhysical address) const;
  static unsigned MmioPiece(const MmioRange* range, GuestPhysical address, size_t bytes);
  void ReadMmio(GuestPhysical address, std::span<uint8_t> out) const;
  void WriteMmio(GuestPhysical address, std::span<const uint8_t> data) const;
  void FillKind(uint64_t first, uint64_t bytes, PageKind kind);
  void NotifyKind(GuestPhysical first, uint64_t bytes);
  void NotifyContent(GuestPhysical first, uint64_t bytes);
  void MapFlat(uint64_t first, uint64_t bytes);
  void MoveContent(BackedMemory& backed, uint64_t to);
  uint64_t FileBytes() const { return Extent() + backed_bytes_; }
  void Release();

  uint64_t ram_bytes_, rom_bytes_, backed_bytes_;
  int memfd_ = -1;
  void* reservation_ = nullptr;  // the flat view and a guard on both sides of it
  uint8_t* flat_ = nullptr;
  ZeroedArray<PageKind> kinds_;   // per page below Extent()
  ZeroedArray<uint8_t> watched_;  // the same; bytes, because every write by the monitor asks: kWatch bits
  bool unseen_writers_ = false;
  Alias alias_;
  std::vector<MmioRange> mmio_;
  std::vector<std::unique_ptr<BackedMemory>> backed_;
  std::vector<KindListener*> kind_listeners_;
  WriteListener* listener_ = nullptr;
};

}  // namespace ring3
