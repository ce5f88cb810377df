#include "devices/block/qcow2_tables.h"

#include <fmt/core.h>

#include <algorithm>
#include <cerrno>

#include "devices/block/image.h"

namespace ring3 {
namespace {

constexpr uint64_t kCacheBytes = 16u << 20;
constexpr uint64_t kFewestTables = 8;

}  // namespace

Qcow2Tables::Qcow2Tables(ImageFile& file, uint64_t cluster_bytes)
    : file_(file), cluster_bytes_(cluster_bytes), most_(std::max(kFewestTables, kCacheBytes / cluster_bytes)) {}

const Qcow2Tables::Bytes& Qcow2Tables::At(uint64_t offset) { return Load(offset); }

void Qcow2Tables::Set(uint64_t offset, uint64_t at, std::span<const uint8_t> bytes) {
  Bytes& table = Load(offset);
  file_.Write(offset + at, bytes);
  std::copy(bytes.begin(), bytes.end(), table.begin() + static_cast<ptrdiff_t>(at));
}

void Qcow2Tables::Create(uint64_t offset, Bytes bytes) {
  file_.Write(offset, bytes);
  if (const auto found = by_offset_.find(offset); found != by_offset_.end()) {
    found->second->bytes = std::move(bytes);
  } else {
    Keep(offset, std::move(bytes));
  }
}

Qcow2Tables::Bytes& Qcow2Tables::Load(uint64_t offset) {
  if (const auto found = by_offset_.find(offset); found != by_offset_.end()) {
    tables_.splice(tables_.begin(), tables_, found->second);
    return found->second->bytes;
  }
  CheckOffset(offset);
  Bytes bytes(cluster_bytes_);
  file_.Read(offset, bytes);
  return Keep(offset, std::move(bytes));
}

Qcow2Tables::Bytes& Qcow2Tables::Keep(uint64_t offset, Bytes bytes) {
  if (tables_.size() >= most_) {
    by_offset_.erase(tables_.back().offset);
    tables_.pop_back();
  }
  tables_.push_front({offset, std::move(bytes)});
  by_offset_[offset] = tables_.begin();
  return tables_.front().bytes;
}

void Qcow2Tables::CheckOffset(uint64_t offset) const {
  if (offset != 0 && offset % cluster_bytes_ == 0 && offset < file_.KnownBytes()) return;
  throw ImageError(
      EIO, fmt::format("qcow2 image {} is damaged (a table at {:#x}): see qemu-img check", file_.Path(), offset));
}

}  // namespace ring3
