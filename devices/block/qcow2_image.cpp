#include "devices/block/qcow2_image.h"

#include <fmt/core.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>

#include "devices/block/big_endian.h"
#include "devices/block/open_image.h"
#include "monitor/cpu/fault.h"

namespace ring3 {
namespace {

constexpr uint64_t kCopied = uint64_t{1} << 63;  // used once: may be written in place
constexpr uint64_t kCompressed = uint64_t{1} << 62;
constexpr uint64_t kReadsAsZero = 1;
constexpr uint64_t kOffsetMask = 0x00FF'FFFF'FFFF'FE00;
constexpr uint64_t kCompressedSector = 512;

struct CompressedPlace {
  uint64_t offset, bytes;
};

/// Where a compressed cluster's data lies: the entry holds an offset of `61 - (cluster_bits - 8)` + 1 bits, then the
/// number of further sectors.
CompressedPlace PlaceOf(uint64_t entry, unsigned cluster_bits) {
  const unsigned offset_bits = 62 - (cluster_bits - 8);
  const uint64_t offset = entry & ((uint64_t{1} << offset_bits) - 1);
  const uint64_t sectors = ((entry & ~(kCopied | kCompressed)) >> offset_bits) + 1;
  return {offset, sectors * kCompressedSector - offset % kCompressedSector};
}

/// Raw deflate data of one cluster.
bool Inflate(std::span<const uint8_t> from, std::span<uint8_t> into) {
  z_stream stream = {};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) return false;
  stream.next_in = const_cast<uint8_t*>(from.data());
  stream.avail_in = static_cast<uInt>(from.size());
  stream.next_out = into.data();
  stream.avail_out = static_cast<uInt>(into.size());
  const int result = inflate(&stream, Z_FINISH);
  const bool whole = stream.avail_out == 0 && (result == Z_STREAM_END || result == Z_BUF_ERROR);
  inflateEnd(&stream);
  return whole;
}

/// A relative name of a backing file is relative to the folder of the file that names it.
std::string BackingPath(const std::string& file, const std::string& name) {
  const std::string plain = name.starts_with("file:") ? name.substr(5) : name;
  const size_t slash = file.rfind('/');
  if (plain.starts_with('/') || slash == std::string::npos) return plain;
  return file.substr(0, slash + 1) + plain;
}

std::unique_ptr<Image> OpenBacking(const ImageFile& file, const Qcow2Header& header, unsigned depth) {
  if (header.backing_file.empty()) return nullptr;
  if (header.backing_file.starts_with("json:"))
    throw UsageError(fmt::format("image {}: its backing file is not a file ({})", file.Path(), header.backing_file));
  ImageSource source{.file = BackingPath(file.Path(), header.backing_file), .read_only = true};
  try {
    source.format = ParseFormat(header.backing_format);
    return OpenBackingImage(source, depth + 1);
  } catch (const UsageError& error) {
    if (depth > 0) throw;
    throw UsageError(fmt::format("backing file of {}: {}", file.Path(), error.what()));
  }
}

}  // namespace

Qcow2Image::Qcow2Image(ImageFile file, unsigned depth)
    : file_(std::move(file)),
      header_(ReadQcow2Header(file_)),
      size_((header_.size_bytes + kSectorBytes - 1) / kSectorBytes * kSectorBytes),
      tables_(file_, header_.ClusterBytes()),
      refcounts_(file_, header_, tables_),
      l1_(header_.l1_entries),
      backing_(OpenBacking(file_, header_, depth)) {
  std::vector<uint8_t> bytes(l1_.size() * 8);
  file_.Read(header_.l1_offset, bytes);
  for (size_t i = 0; i < l1_.size(); ++i) l1_[i] = LoadBig<uint64_t>(&bytes[8 * i]);
  if (!file_.ReadOnly() && header_.autoclear_features != 0) {  // bitmaps and the like, which our writes make wrong
    const uint8_t none[8] = {};
    file_.Write(qcow2::kAutoclearField, none);
  }
}

void Qcow2Image::Damaged(const char* what) const {
  throw ImageError(EIO, fmt::format("qcow2 image {} is damaged ({}): see qemu-img check", file_.Path(), what));
}

uint64_t Qcow2Image::Entry(uint64_t cluster) {
  const uint64_t table = l1_[cluster / EntriesPerTable()] & kOffsetMask;
  if (table == 0) return 0;
  return LoadBig<uint64_t>(tables_.At(table).data() + 8 * (cluster % EntriesPerTable()));
}

Qcow2Image::Kind Qcow2Image::KindOf(uint64_t entry) const {
  if (entry & kCompressed) return Kind::kCompressed;
  if (header_.version >= 3 && (entry & kReadsAsZero)) return Kind::kZero;
  return (entry & kOffsetMask) ? Kind::kData : Kind::kAbsent;
}

bool Qcow2Image::InPlace(uint64_t entry) const { return KindOf(entry) == Kind::kData && (entry & kCopied); }

void Qcow2Image::CheckData(uint64_t host) const {
  if (host % header_.ClusterBytes() != 0) Damaged("a cluster's place");
  if (host >= file_.KnownBytes()) Damaged("a cluster beyond the end of the file");
}

/// What a damaged image maps over its own tables must not be written.
void Qcow2Image::CheckFreeOfMetadata(uint64_t host, uint64_t bytes) const {
  if (header_.OverlapsTables(host, bytes)) Damaged("data in its tables' place");
}

Qcow2Image::Extent Qcow2Image::ExtentAt(uint64_t offset, uint64_t bytes) {
  const uint64_t cluster_bytes = header_.ClusterBytes(), within = offset % cluster_bytes;
  uint64_t cluster = offset / cluster_bytes;
  const uint64_t entry = Entry(cluster);
  Extent extent{KindOf(entry), (entry & kOffsetMask) + within, entry, cluster_bytes - within};
  if (extent.kind == Kind::kData) CheckData(extent.host - within);
  while (extent.bytes < bytes && extent.kind != Kind::kCompressed) {
    const uint64_t next = Entry(++cluster);
    if (KindOf(next) != extent.kind) break;
    if (extent.kind == Kind::kData && (next & kOffsetMask) != extent.host + extent.bytes) break;
    extent.bytes += cluster_bytes;
  }
  extent.bytes = std::min(extent.bytes, bytes);
  return extent;
}

void Qcow2Image::Read(uint64_t offset, std::span<uint8_t> into) {
  CheckRange(offset, into.size());
  while (!into.empty()) {
    const Extent extent = ExtentAt(offset, into.size());
    const auto piece = into.first(extent.bytes);
    switch (extent.kind) {
      case Kind::kAbsent:
        ReadBacking(offset, piece);
        break;
      case Kind::kZero:
        std::fill(piece.begin(), piece.end(), uint8_t{0});
        break;
      case Kind::kData:
        file_.Read(extent.host, piece);
        break;
      case Kind::kCompressed:
        ReadCompressed(extent.entry, offset % header_.ClusterBytes(), piece);
        break;
    }
    into = into.subspan(piece.size());
    offset += piece.size();
  }
}

void Qcow2Image::ReadBacking(uint64_t offset, std::span<uint8_t> into) {
  const uint64_t end = backing_ ? backing_->SizeBytes() : 0;
  const auto there = into.first(offset < end ? std::min<uint64_t>(into.size(), end - offset) : 0);
  if (!there.empty()) backing_->Read(offset, there);
  std::fill(into.begin() + static_cast<ptrdiff_t>(there.size()), into.end(), uint8_t{0});
}

void Qcow2Image::ReadCompressed(uint64_t entry, uint64_t within, std::span<uint8_t> into) {
  if (inflated_entry_ != entry) {
    inflated_entry_ = 0;
    const CompressedPlace place = PlaceOf(entry, header_.cluster_bits);
    if (place.offset >= file_.KnownBytes()) Damaged("a compressed cluster beyond the end of the file");
    std::vector<uint8_t> compressed(place.bytes);
    file_.Read(place.offset, compressed);
    inflated_.resize(header_.ClusterBytes());
    if (!Inflate(compressed, inflated_)) Damaged("a compressed cluster");
    inflated_entry_ = entry;
  }
  std::copy_n(inflated_.begin() + static_cast<ptrdiff_t>(within), into.size(), into.begin());
}

void Qcow2Image::Write(uint64_t offset, std::span<const uint8_t> data) {
  CheckRange(offset, data.size());
  while (!data.empty()) {
    const bool in_place = InPlace(Entry(offset / header_.ClusterBytes()));
    const size_t done = in_place ? WriteInPlace(offset, data) : WriteNew(offset, data);
    data = data.subspan(done);
    offset += done;
  }
}

size_t Qcow2Image::WriteInPlace(uint64_t offset, std::span<const uint8_t> data) {
  const uint64_t cluster_bytes = header_.ClusterBytes(), within = offset % cluster_bytes;
  uint64_t cluster = offset / cluster_bytes;
  const uint64_t host = (Entry(cluster) & kOffsetMask) + within;
  CheckData(host - within);
  uint64_t bytes = cluster_bytes - within;
  while (bytes < data.size()) {
    const uint64_t next = Entry(++cluster);
    if (!InPlace(next) || (next & kOffsetMask) != host + bytes) break;
    bytes += cluster_bytes;
  }
  bytes = std::min<uint64_t>(bytes, data.size());
  CheckFreeOfMetadata(host, bytes);
  file_.Write(host, data.first(bytes));
  return bytes;
}

/// Clusters that are not here yet, or not ours alone: the data goes to new ones, then the tables are told.
size_t Qcow2Image::WriteNew(uint64_t offset, std::span<const uint8_t> data) {
  const uint64_t cluster_bytes = header_.ClusterBytes(), within = offset % cluster_bytes;
  const uint64_t cluster = offset / cluster_bytes;
  const uint64_t wanted = (within + data.size() + cluster_bytes - 1) / cluster_bytes;
  const uint64_t table_end = (cluster / EntriesPerTable() + 1) * EntriesPerTable();
  std::vector<uint64_t> old;
  for (uint64_t i = cluster; i < cluster + wanted && i < table_end; ++i) {
    const uint64_t entry = Entry(i);
    if (InPlace(entry)) break;
    old.push_back(entry);
  }
  const Qcow2Refcounts::Run run = refcounts_.Allocate(old.size());
  old.resize(run.count);
  const uint64_t host = run.first * cluster_bytes, bytes = run.count * cluster_bytes;
  CheckFreeOfMetadata(host, bytes);
  const size_t taken = std::min<uint64_t>(data.size(), bytes - within);
  try {
    if (within == 0 && taken == bytes) {
      file_.Write(host, data.first(taken));
    } else {
      file_.Write(host, WholeClusters(offset, data.first(taken), bytes));
    }
    std::vector<uint64_t> entries(run.count);
    for (uint64_t i = 0; i < run.count; ++i) entries[i] = (host + i * cluster_bytes) | kCopied;
    SetEntries(cluster, entries);
  } catch (const ImageError&) {
    for (uint64_t i = 0; i < run.count; ++i) {
      if ((Entry(cluster + i) & kOffsetMask) != host + i * cluster_bytes) refcounts_.Release(run.first + i);
    }
    throw;
  }
  for (const uint64_t entry : old) ReleaseOld(entry);
  return taken;
}

/// `data` in the midst of what its clusters held before.
std::vector<uint8_t> Qcow2Image::WholeClusters(uint64_t offset, std::span<const uint8_t> data, uint64_t bytes) {
  const uint64_t within = offset % header_.ClusterBytes(), first = offset - within;
  std::vector<uint8_t> whole(bytes);
  if (within != 0) Read(first, std::span(whole).first(within));
  const uint64_t end = offset + data.size(), last = std::min(first + bytes, SizeBytes());
  if (end < last) Read(end, std::span(whole).subspan(within + data.size(), last - end));
  std::copy(data.begin(), data.end(), whole.begin() + static_cast<ptrdiff_t>(within));
  return whole;
}

/// The clusters belong to one table.
void Qcow2Image::SetEntries(uint64_t cluster, std::span<const uint64_t> entries) {
  std::vector<uint8_t> bytes(entries.size() * 8);
  for (size_t i = 0; i < entries.size(); ++i) StoreBig(&bytes[8 * i], entries[i]);
  tables_.Set(OwnTable(cluster / EntriesPerTable()), 8 * (cluster % EntriesPerTable()), bytes);
}

/// The L2 table's offset; it is made, or copied from one that snapshots share, when it cannot be written.
uint64_t Qcow2Image::OwnTable(uint64_t index) {
  const uint64_t entry = l1_[index], old = entry & kOffsetMask;
  if (old != 0 && (entry & kCopied)) {
    CheckFreeOfMetadata(old, header_.ClusterBytes());
    return old;
  }
  const uint64_t cluster = refcounts_.Allocate(1).first;
  const uint64_t offset = cluster * header_.ClusterBytes();
  try {
    CheckFreeOfMetadata(offset, header_.ClusterBytes());
    tables_.Create(offset, old ? tables_.At(old) : Qcow2Tables::Bytes(header_.ClusterBytes()));
    StoreL1Entry(index, offset | kCopied);
  } catch (const ImageError&) {
    refcounts_.Release(cluster);
    throw;
  }
  if (old) refcounts_.Release(old / header_.ClusterBytes());
  return offset;
}

void Qcow2Image::StoreL1Entry(uint64_t index, uint64_t entry) {
  uint8_t bytes[8];
  StoreBig(bytes, entry);
  file_.Write(header_.l1_offset + 8 * index, bytes);
  l1_[index] = entry;
}

/// A cluster that an L2 entry no longer names.
void Qcow2Image::ReleaseOld(uint64_t entry) {
  if (KindOf(entry) == Kind::kCompressed) {
    const CompressedPlace place = PlaceOf(entry, header_.cluster_bits);
    const uint64_t last = (place.offset + place.bytes - 1) >> header_.cluster_bits;
    for (uint64_t i = place.offset >> header_.cluster_bits; i <= last; ++i) refcounts_.Release(i);
    inflated_entry_ = 0;
  } else if (const uint64_t host = entry & kOffsetMask) {
    refcounts_.Release(host / header_.ClusterBytes());
  }
}

}  // namespace ring3
