#include "devices/block/qcow2_header.h"

#include <fmt/core.h>

#include <array>
#include <vector>

#include "devices/block/big_endian.h"
#include "devices/block/image.h"
#include "monitor/cpu/fault.h"

namespace ring3 {
namespace {

constexpr size_t kV2HeaderBytes = 72, kV3HeaderBytes = 104;
constexpr uint32_t kMagic = 0x514649FB;
constexpr unsigned kLeastClusterBits = 9, kMostClusterBits = 21;
constexpr uint64_t kMostL1Bytes = 32u << 20, kMostRefcountTableBytes = 8u << 20;
constexpr uint64_t kMostBytes = uint64_t{1} << 62;
constexpr uint32_t kMostBackingName = 1023;
constexpr unsigned kMostRefcountOrder = 6;
// Incompatible features.
constexpr uint64_t kDirty = 1, kCorrupt = 2, kExternalData = 4, kCompressionType = 8, kExtendedL2 = 16;
// Header extensions.
constexpr uint32_t kEndOfExtensions = 0, kBackingFormat = 0xE2792ACA;

using RawHeader = std::array<uint8_t, kV3HeaderBytes>;

[[noreturn]] void Refuse(const ImageFile& file, const std::string& why) {
  throw UsageError(fmt::format("qcow2 image {}: {}", file.Path(), why));
}

void CheckFeatures(const ImageFile& file, uint64_t incompatible) {
  if (incompatible & kExternalData) Refuse(file, "has an external data file (qemu-img convert makes one without)");
  if (incompatible & kCompressionType) Refuse(file, "is compressed with zstd (qemu-img convert makes one that is not)");
  if (incompatible & kExtendedL2) Refuse(file, "has extended L2 entries (qemu-img convert makes one without)");
  const uint64_t unknown = incompatible & ~(kDirty | kCorrupt | kExternalData | kCompressionType | kExtendedL2);
  if (unknown) Refuse(file, fmt::format("needs features that ring3 does not have ({:#x})", unknown));
  if (file.ReadOnly()) return;
  if (incompatible & kDirty) Refuse(file, "was not closed cleanly: qemu-img check -r all repairs it");
  if (incompatible & kCorrupt) Refuse(file, "is marked as damaged: qemu-img check -r all repairs it");
}

void CheckTable(const ImageFile& file, const Qcow2Header& header, const char* name, uint64_t offset, uint64_t bytes,
                uint64_t most) {
  const bool aligned = offset % header.ClusterBytes() == 0;
  if (bytes <= most && aligned && offset >= header.ClusterBytes() && offset < kMostBytes &&
      offset + bytes <= file.KnownBytes() + header.ClusterBytes()) {
    return;
  }
  Refuse(file, fmt::format("is damaged or truncated ({} at {:#x})", name, offset));
}

void CheckGeometry(const ImageFile& file, const Qcow2Header& header) {
  const uint64_t bytes_per_table = header.ClusterBytes() * (header.ClusterBytes() / 8);
  if (header.size_bytes > kMostBytes) Refuse(file, "has an impossible size");
  const uint64_t needed = (header.size_bytes + bytes_per_table - 1) / bytes_per_table;
  if (header.l1_entries < needed) Refuse(file, "is damaged (its L1 table is too short)");
  if (header.l1_entries != 0) {
    CheckTable(file, header, "L1 table", header.l1_offset, uint64_t{header.l1_entries} * 8, kMostL1Bytes);
  }
  if (header.refcount_table_clusters == 0) Refuse(file, "is damaged (no refcount table)");
  CheckTable(file, header, "refcount table", header.refcount_table_offset,
             uint64_t{header.refcount_table_clusters} * header.ClusterBytes(), kMostRefcountTableBytes);
}

std::string ReadText(const ImageFile& file, uint64_t offset, uint32_t bytes) {
  std::vector<uint8_t> text(bytes);
  file.Read(offset, text);
  return std::string(text.begin(), text.end());
}

void ReadExtensions(const ImageFile& file, uint64_t at, uint64_t end, Qcow2Header& header) {
  std::array<uint8_t, 8> head;
  while (at + head.size() <= end) {
    file.Read(at, head);
    const auto type = LoadBig<uint32_t>(head.data());
    const uint64_t bytes = LoadBig<uint32_t>(head.data() + 4);
    at += head.size();
    if (type == kEndOfExtensions) return;
    if (bytes > end - at) Refuse(file, "is damaged (a header extension is too long)");
    if (type == kBackingFormat) header.backing_format = ReadText(file, at, static_cast<uint32_t>(bytes));
    at += (bytes + 7) & ~uint64_t{7};
  }
}

void ReadBackingName(const ImageFile& file, const RawHeader& raw, Qcow2Header& header, uint64_t header_bytes) {
  const auto offset = LoadBig<uint64_t>(raw.data() + 8);
  const auto bytes = LoadBig<uint32_t>(raw.data() + 16);
  const bool backed = offset != 0 && bytes != 0;
  if (backed &&
      (bytes > kMostBackingName || offset > header.ClusterBytes() || offset + bytes > header.ClusterBytes())) {
    Refuse(file, "is damaged (the name of its backing file)");
  }
  ReadExtensions(file, header_bytes, backed ? offset : header.ClusterBytes(), header);
  if (backed) header.backing_file = ReadText(file, offset, bytes);
}

/// Returns the header's length.
uint64_t ReadVersion3(const ImageFile& file, const RawHeader& raw, Qcow2Header& header) {
  CheckFeatures(file, LoadBig<uint64_t>(raw.data() + 72));
  header.autoclear_features = LoadBig<uint64_t>(raw.data() + qcow2::kAutoclearField);
  header.refcount_order = LoadBig<uint32_t>(raw.data() + 96);
  const auto bytes = LoadBig<uint32_t>(raw.data() + 100);
  if (header.refcount_order > kMostRefcountOrder) Refuse(file, "is damaged (width of its refcounts)");
  if (bytes < kV3HeaderBytes || bytes > header.ClusterBytes()) Refuse(file, "is damaged (length of its header)");
  return bytes;
}

}  // namespace

bool Qcow2Header::OverlapsTables(uint64_t host, uint64_t bytes) const {
  const auto overlaps = [=](uint64_t first, uint64_t size) { return host < first + size && first < host + bytes; };
  return overlaps(0, ClusterBytes()) || overlaps(l1_offset, uint64_t{l1_entries} * 8) ||
         overlaps(refcount_table_offset, refcount_table_clusters * ClusterBytes());
}

Qcow2Header ReadQcow2Header(const ImageFile& file) {
  RawHeader raw{};
  if (file.ReadSome(0, raw) < kV2HeaderBytes || LoadBig<uint32_t>(raw.data()) != kMagic) {
    Refuse(file, "is not a qcow2 image, or truncated");
  }
  Qcow2Header header;
  header.version = LoadBig<uint32_t>(raw.data() + 4);
  if (header.version != 2 && header.version != 3) Refuse(file, fmt::format("has unknown version {}", header.version));
  header.cluster_bits = LoadBig<uint32_t>(raw.data() + 20);
  if (header.cluster_bits < kLeastClusterBits || header.cluster_bits > kMostClusterBits)
    Refuse(file, "has an impossible cluster size");
  header.size_bytes = LoadBig<uint64_t>(raw.data() + 24);
  if (LoadBig<uint32_t>(raw.data() + 32) != 0) Refuse(file, "is encrypted (qemu-img convert makes one that is not)");
  header.l1_entries = LoadBig<uint32_t>(raw.data() + 36);
  header.l1_offset = LoadBig<uint64_t>(raw.data() + 40);
  header.refcount_table_offset = LoadBig<uint64_t>(raw.data() + qcow2::kRefcountTableField);
  header.refcount_table_clusters = LoadBig<uint32_t>(raw.data() + qcow2::kRefcountTableField + 8);
  const uint64_t header_bytes = header.version == 3 ? ReadVersion3(file, raw, header) : kV2HeaderBytes;
  CheckGeometry(file, header);
  ReadBackingName(file, raw, header, header_bytes);
  return header;
}

}  // namespace ring3
