#include "devices/block/snapshot_image.h"

#include <algorithm>
#include <array>

#include "monitor/cpu/fault.h"

namespace ring3 {
namespace {

/// What a file of changes can hold on usual file systems.
constexpr uint64_t kMostBytes = uint64_t{16} << 40;

std::unique_ptr<Image> CheckSize(std::unique_ptr<Image> base) {
  if (base->SizeBytes() <= kMostBytes) return base;
  throw UsageError("a snapshot of a disk of more than 16 TiB is not possible");
}

}  // namespace

SnapshotImage::SnapshotImage(std::unique_ptr<Image> base)
    : base_(CheckSize(std::move(base))),
      changes_(ImageFile::Temporary()),
      changed_((base_->SizeBytes() + kClusterBytes - 1) / kClusterBytes) {}

void SnapshotImage::Read(uint64_t offset, std::span<uint8_t> into) {
  CheckRange(offset, into.size());
  while (!into.empty()) {
    const uint64_t first = offset / kClusterBytes;
    uint64_t end = first + 1;
    const uint64_t last = (offset + into.size() - 1) / kClusterBytes;
    while (end <= last && changed_[end] == changed_[first]) ++end;
    const auto piece = into.first(std::min<uint64_t>(into.size(), end * kClusterBytes - offset));
    changed_[first] ? changes_.Read(offset, piece) : base_->Read(offset, piece);
    into = into.subspan(piece.size());
    offset += piece.size();
  }
}

void SnapshotImage::Write(uint64_t offset, std::span<const uint8_t> data) {
  CheckRange(offset, data.size());
  if (data.empty()) return;
  const uint64_t end = offset + data.size();
  const uint64_t first = offset / kClusterBytes, last = (end - 1) / kClusterBytes;
  if (offset % kClusterBytes != 0) CopyUp(first);
  if (end % kClusterBytes != 0 && end != SizeBytes()) CopyUp(last);
  changes_.Write(offset, data);
  std::fill(changed_.begin() + static_cast<ptrdiff_t>(first), changed_.begin() + static_cast<ptrdiff_t>(last) + 1,
            true);
}

/// A cluster that is written in part keeps the base's bytes in the rest.
void SnapshotImage::CopyUp(uint64_t cluster) {
  if (changed_[cluster]) return;
  std::array<uint8_t, kClusterBytes> bytes;
  const uint64_t offset = cluster * kClusterBytes;
  const auto whole = std::span(bytes).first(std::min(kClusterBytes, SizeBytes() - offset));
  base_->Read(offset, whole);
  changes_.Write(offset, whole);
  changed_[cluster] = true;
}

}  // namespace ring3
