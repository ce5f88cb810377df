#include "shadowmmu/linear_memory.h"

#include <algorithm>

#include "monitor/cpu/fault.h"
#include "shadowmmu/paging_entry.h"

namespace ring3 {
namespace {

size_t BytesOnPage(GuestLinear address, size_t bytes) {
  return std::min<size_t>(bytes, kPageSize - address.PageOffset());
}

}  // namespace

LinearMemory::LinearMemory(PhysicalMemory& physical, FastPaths fast_paths)
    : physical_(physical), fast_paths_(fast_paths) {
  physical_.AddKindListener(this);
}

LinearMemory::~LinearMemory() { physical_.RemoveKindListener(this); }

void LinearMemory::SetPaging(const PagingState& paging) {
  PagingState reloaded = paging_;
  reloaded.cr3 = paging.cr3;
  reloaded.pdpte = paging.pdpte;
  const bool keeps_global = (paging.cr4 & cr4::kPge) && fast_paths_.Has(FastPath::kGlobalTranslations);
  const bool only_cr3 = reloaded == paging;
  paging_ = paging;
  if (only_cr3 && keeps_global) {
    FlushLocal();
  } else {
    Flush();
  }
}

void LinearMemory::InvalidatePage(GuestLinear address) {
  // INVLPG drops a large page whole, and its parts may sit anywhere in the TLB.
  if (large_[address.value >> kLargeShift]) return Flush();
  for (const bool user : {false, true}) {
    Slot(address, user).tags = {};
    Unshare(user, SoftTlb::IndexOf(address));
  }
}

/// It stays in the list.
void LinearMemory::Unshare(bool user, unsigned index) {
  if (!shared_[user][index]) return;
  for (SoftTlb::Pages& pages : soft_->halves[user].negated_page) pages[index] = SoftTlb::kNoPage;
}

void LinearMemory::UnshareAll() {
  for (unsigned i = 0; i < shared_count_; ++i) {
    const bool user = shared_list_[i] >= SoftTlb::kEntries;
    const unsigned index = shared_list_[i] % SoftTlb::kEntries;
    Unshare(user, index);
    shared_[user][index] = false;
  }
  shared_count_ = 0;
}

void LinearMemory::PageWatched(GuestPhysical page) {
  const uint64_t host = reinterpret_cast<uint64_t>(physical_.Flat(page));
  for (unsigned i = 0; i < shared_count_; ++i) {
    SoftTlb::Half& half = soft_->halves[shared_list_[i] / SoftTlb::kEntries];
    const unsigned index = shared_list_[i] % SoftTlb::kEntries;
    uint64_t& negated_page = half.negated_page[1][index];
    if (half.to_host[index] - negated_page == host) negated_page = SoftTlb::kNoPage;
  }
}

/// Few times a second: the shared pages come back with the next accesses.
void LinearMemory::WritesTrapped(std::span<const uint32_t>) { UnshareAll(); }

void LinearMemory::Flush() {
  large_.reset();
  FlushLocal();
  if (generation_++ < kLastGeneration) return;
  generation_ = 1;
  for (auto& half : tlb_) half.fill(Entry{});
}

void LinearMemory::FlushLocal() {
  UnshareAll();
  for (Entry* entry : local_) {
    entry->tags = {};
    entry->listed = false;
  }
  local_.clear();
}

void LinearMemory::KindChanged(GuestPhysical, uint64_t) { Flush(); }

void LinearMemory::Watch(Watcher watcher, std::span<const LinearWatch> watches) {
  watches_[static_cast<unsigned>(watcher)].assign(watches.begin(), watches.end());
  watching_ = std::any_of(watches_.begin(), watches_.end(), [](const auto& list) { return !list.empty(); });
  Flush();
}

bool LinearMemory::Watched(GuestLinear page) const {
  if (!watching_) return false;
  const auto lies_here = [&](const LinearWatch& watch) { return watch.first.Page() == page; };
  return std::any_of(watches_.begin(), watches_.end(),
                     [&](const auto& list) { return std::any_of(list.begin(), list.end(), lies_here); });
}

void LinearMemory::Note(GuestLinear address, size_t bytes, AccessType type) {
  if (type == AccessType::kFetch) return;
  for (unsigned watcher = 0; watcher < kWatchers; ++watcher) {
    for (const LinearWatch& watch : watches_[watcher]) {
      const bool counts = type == AccessType::kWrite ? watch.writes : watch.reads;
      const bool touches = watch.first - address < bytes || address - watch.first < watch.bytes;
      if (counts && touches) marks_[watcher] |= watch.mark;
    }
  }
}

const LinearMemory::Entry& LinearMemory::Refill(Entry& entry, GuestLinear address, Access access) {
  const WalkResult walk = Walk(physical_, paging_, address, access);
  if (!walk.ok) throw GuestFault{Vector::kPageFault, walk.error_code, address.value};
  const Translation& t = walk.translation;
  const PageKind kind = physical_.KindOf(t.page);
  const bool may_write = t.writable || (!access.user && !WriteProtectOn(paging_));
  const uint32_t tag = Tag(address);
  entry.tags[static_cast<unsigned>(AccessType::kRead)] = tag;
  entry.tags[static_cast<unsigned>(AccessType::kWrite)] = may_write && t.dirty ? tag : 0;
  entry.tags[static_cast<unsigned>(AccessType::kFetch)] = t.executable ? tag : 0;
  const bool watched = Watched(address.Page());  // then no access may go past Note
  entry.ram = kind == PageKind::kRam && !watched;
  entry.host = kind == PageKind::kMmio || watched ? nullptr : physical_.Flat(t.page);
  entry.page = t.page;
  if (!t.global && !std::exchange(entry.listed, true)) local_.push_back(&entry);
  if (PagingOn(paging_) && t.page_bytes != kPageSize) large_.set(address.value >> kLargeShift);
  return entry;
}

void LinearMemory::CheckPages(GuestLinear address, size_t bytes, Access access) {
  while (bytes > 0) {
    Lookup(address, access);
    const size_t step = BytesOnPage(address, bytes);
    address = address + static_cast<uint32_t>(step);
    bytes -= step;
  }
}

void LinearMemory::CheckWritable(GuestLinear address, uint32_t bytes, bool user) {
  CheckPages(address, bytes, {AccessType::kWrite, user});
}

void LinearMemory::ReadBytes(GuestLinear address, std::span<uint8_t> out, Access access) {
  const uint8_t* host = ReadHit(address, out.size(), access);
  if (!host) return ReadSlow(address, out, access);
  switch (out.size()) {
    case 1:
      std::memcpy(out.data(), host, 1);
      break;
    case 2:
      std::memcpy(out.data(), host, 2);
      break;
    case 4:
      std::memcpy(out.data(), host, 4);
      break;
    case 8:
      std::memcpy(out.data(), host, 8);
      break;
    default:
      std::memcpy(out.data(), host, out.size());
  }
}

void LinearMemory::WriteBytes(GuestLinear address, std::span<const uint8_t> data, Access access) {
  uint8_t* host = WriteHit(address, data.size(), access);
  if (!host) return WriteSlow(address, data, access);
  switch (data.size()) {
    case 1:
      std::memcpy(host, data.data(), 1);
      break;
    case 2:
      std::memcpy(host, data.data(), 2);
      break;
    case 4:
      std::memcpy(host, data.data(), 4);
      break;
    case 8:
      std::memcpy(host, data.data(), 8);
      break;
    default:
      std::memcpy(host, data.data(), data.size());
  }
}

void LinearMemory::ReadSlow(GuestLinear address, std::span<uint8_t> out, Access access) {
  CheckPages(address, out.size(), access);
  if (watching_) Note(address, out.size(), access.type);
  while (!out.empty()) {
    const size_t bytes = BytesOnPage(address, out.size());
    physical_.Read(Translate(address, access), out.first(bytes));
    out = out.subspan(bytes);
    address = address + static_cast<uint32_t>(bytes);
  }
}

void LinearMemory::WriteSlow(GuestLinear address, std::span<const uint8_t> data, Access access) {
  access.type = AccessType::kWrite;
  CheckPages(address, data.size(), access);
  if (watching_) Note(address, data.size(), access.type);
  while (!data.empty()) {
    const size_t bytes = BytesOnPage(address, data.size());
    physical_.Write(Translate(address, access), data.first(bytes));
    data = data.subspan(bytes);
    address = address + static_cast<uint32_t>(bytes);
  }
}

}  // namespace ring3
