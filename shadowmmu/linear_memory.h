// The monitor's own accesses to guest-linear memory: descriptor tables, stacks, operands of emulated instructions.
// A software TLB over the flat RAM view; misses walk the guest's tables.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "shadowmmu/paging.h"
#include "shadowmmu/soft_tlb.h"
#include "translator/fast_paths.h"

namespace ring3 {

/// A range of data whose accesses are noticed. Lies in one page.
struct LinearWatch {
  GuestLinear first;
  uint32_t bytes = 0;
  bool reads = false, writes = true;  // which accesses count
  uint32_t mark = 0;
};

/// Who watches. Marks of the guest's debug registers and of a debugger outside the guest are taken apart.
enum class Watcher : uint8_t { kGuest, kDebugger, kCount };

class LinearMemory : private KindListener {
 public:
  explicit LinearMemory(PhysicalMemory& physical, FastPaths fast_paths = {});
  ~LinearMemory() override;
  LinearMemory(const LinearMemory&) = delete;
  LinearMemory& operator=(const LinearMemory&) = delete;

  /// Adopts the paging state and forgets cached translations (MOV CR0/CR3/CR4/EFER, task switch, reset, A20); global
  /// ones only where more than CR3 changed, as a processor does.
  void SetPaging(const PagingState& paging);
  void InvalidatePage(GuestLinear address);

  /// All throw GuestFault (#PF with error code and CR2 of the first byte that faults). Page-crossing and 4 GiB-wrapping
  /// accesses are allowed: all pages are checked before a byte moves. MMIO goes to its device, each naturally sized
  /// and aligned access as one.
  template <class T>
  T Read(GuestLinear address, Access access) {
    T value;
    if (const uint8_t* host = ReadHit(address, sizeof value, access)) {
      std::memcpy(&value, host, sizeof value);
    } else {
      ReadSlow(address, {reinterpret_cast<uint8_t*>(&value), sizeof value}, access);
    }
    return value;
  }
  template <class T>
  void Write(GuestLinear address, T value, Access access) {
    if (uint8_t* host = WriteHit(address, sizeof value, access)) {
      std::memcpy(host, &value, sizeof value);
    } else {
      WriteSlow(address, {reinterpret_cast<const uint8_t*>(&value), sizeof value}, access);
    }
  }
  void ReadBytes(GuestLinear address, std::span<uint8_t> out, Access access);
  void WriteBytes(GuestLinear address, std::span<const uint8_t> data, Access access);
  /// Faults as a write of `bytes` would, and sets A and D, without writing: for read-modify-write operands.
  void CheckWritable(GuestLinear address, uint32_t bytes, bool user);

  /// Host pointer to the bytes from `address` to at most the end of its page when it is RAM (for reads, also ROM) and,
  /// for writes, holds no translated code; nullptr otherwise (use Read/Write). Throws GuestFault as an access would.
  uint8_t* TryDirect(GuestLinear address, Access access) {
    const Entry& entry = Lookup(address, access);
    const bool direct = access.type == AccessType::kWrite ? DirectWrite(entry) : entry.host != nullptr;
    return direct ? entry.host + address.PageOffset() : nullptr;
  }
  /// Physical address of one byte as this access would reach it. Throws GuestFault.
  GuestPhysical Translate(GuestLinear address, Access access) {
    return Lookup(address, access).page + address.PageOffset();
  }

  /// Host address of the bytes if this access needs no walk, no device and nobody's notice; else nullptr. Uses general
  /// registers only.
  const uint8_t* CachedRead(GuestLinear address, size_t bytes, Access access) {
    return ReadHit(address, bytes, access);
  }
  uint8_t* CachedWrite(GuestLinear address, size_t bytes, Access access) { return WriteHit(address, bytes, access); }

  /// Keeps `soft` a part of this TLB, which must outlive it.
  void ServeSoft(SoftTlb& soft) { soft_ = &soft; }
  /// Puts the page into the SoftTlb, if CachedRead or CachedWrite would give the bytes. General registers only.
  bool Share(GuestLinear address, size_t bytes, Access access) {
    const bool writes = access.type == AccessType::kWrite;
    if (!soft_ || !(writes ? WriteHit(address, bytes, access) : ReadHit(address, bytes, access))) return false;
    const Entry& entry = Slot(address, access.user);
    const unsigned index = SoftTlb::IndexOf(address);
    SoftTlb::Half& half = soft_->halves[access.user];
    const uint32_t page = address.Page().value;
    const bool writable = Hit(entry, address, AccessType::kWrite) && DirectWrite(entry);
    half.negated_page[0][index] = -uint64_t{page};
    half.negated_page[1][index] = writable ? -uint64_t{page} : SoftTlb::kNoPage;
    half.to_host[index] = reinterpret_cast<uint64_t>(entry.host) - page;
    if (!shared_[access.user][index]) NoteShared(access.user, index);
    return true;
  }

  /// Replaces what one watcher watches. Each access that touches a watched byte adds the watch's mark.
  void Watch(Watcher watcher, std::span<const LinearWatch> watches);
  /// The marks that have come together since they were last taken.
  uint32_t TakeMarks(Watcher watcher) { return std::exchange(marks_[static_cast<unsigned>(watcher)], 0u); }
  uint32_t Marks(Watcher watcher) const { return marks_[static_cast<unsigned>(watcher)]; }

  PhysicalMemory& Physical() { return physical_; }

 private:
  /// A tag is generation << 20 | linear page number, so that a new generation empties the whole TLB. One for each
  /// AccessType: an access whose rights, A and D bits were not all seen to be in order finds no match.
  struct Entry {
    std::array<uint32_t, 3> tags{};
    bool ram = false;         // writes may go to `host`
    bool listed = false;      // in local_
    uint8_t* host = nullptr;  // of the page in the flat view; nullptr for MMIO and watched pages
    GuestPhysical page;
  };
  static constexpr unsigned kEntries = 1024, kGenerationShift = 20;
  static constexpr uint32_t kLastGeneration = 0xFFF;
  static constexpr unsigned kLargeShift = 22;  // large pages are remembered by 4 MiB unit

  uint32_t Tag(GuestLinear address) const { return generation_ << kGenerationShift | address.PageNumber(); }
  Entry& Slot(GuestLinear address, bool user) { return tlb_[user][address.PageNumber() % kEntries]; }
  bool Hit(const Entry& entry, GuestLinear address, AccessType type) const {
    return entry.tags[static_cast<unsigned>(type)] == Tag(address);
  }
  bool DirectWrite(const Entry& entry) const { return entry.ram && physical_.IsPlain(entry.page); }

  const Entry& Lookup(GuestLinear address, Access access) {
    Entry& entry = Slot(address, access.user);
    return Hit(entry, address, access.type) ? entry : Refill(entry, address, access);
  }
  const uint8_t* ReadHit(GuestLinear address, size_t bytes, Access access) {
    const Entry& entry = Slot(address, access.user);
    const bool hit = Hit(entry, address, access.type) && entry.host && address.PageOffset() + bytes <= kPageSize;
    return hit ? entry.host + address.PageOffset() : nullptr;
  }
  uint8_t* WriteHit(GuestLinear address, size_t bytes, Access access) {
    const Entry& entry = Slot(address, access.user);
    const bool hit =
        Hit(entry, address, AccessType::kWrite) && address.PageOffset() + bytes <= kPageSize && DirectWrite(entry);
    return hit ? entry.host + address.PageOffset() : nullptr;
  }

  bool Watched(GuestLinear page) const;
  void Note(GuestLinear address, size_t bytes, AccessType type);
  const Entry& Refill(Entry& entry, GuestLinear address, Access access);
  void CheckPages(GuestLinear address, size_t bytes, Access access);
  void ReadSlow(GuestLinear address, std::span<uint8_t> out, Access access);
  void WriteSlow(GuestLinear address, std::span<const uint8_t> data, Access access);
  void Flush();
  void FlushLocal();
  void NoteShared(bool user, unsigned index) {
    shared_[user][index] = true;
    shared_list_[shared_count_++] = static_cast<uint16_t>(user * SoftTlb::kEntries + index);
  }
  void Unshare(bool user, unsigned index);
  void UnshareAll();
  void PageWatched(GuestPhysical page) override;
  void WritesTrapped(std::span<const uint32_t> pages) override;
  void KindChanged(GuestPhysical first, uint64_t bytes) override;

  PhysicalMemory& physical_;
  const FastPaths fast_paths_;
  PagingState paging_;
  static constexpr unsigned kWatchers = static_cast<unsigned>(Watcher::kCount);
  std::array<std::vector<LinearWatch>, kWatchers> watches_;
  bool watching_ = false;
  std::array<uint32_t, kWatchers> marks_{};
  uint32_t generation_ = 1;                         // never 0, so that empty tags match nothing
  std::bitset<1u << (32 - kLargeShift)> large_;     // units with a cached part of a large page
  std::array<std::array<Entry, kEntries>, 2> tlb_;  // by Access::user
  std::vector<Entry*> local_;                       // those that loading CR3 empties
  SoftTlb* soft_ = nullptr;
  // Entries of the SoftTlb that are in use, and a list of them.
  std::array<std::array<bool, SoftTlb::kEntries>, 2> shared_{};
  std::array<uint16_t, 2 * SoftTlb::kEntries> shared_list_{};
  unsigned shared_count_ = 0;
};

}  // namespace ring3
