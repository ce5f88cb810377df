#include "devices/block/qcow2_refcounts.h"

#include <fmt/core.h>

#include <algorithm>
#include <cerrno>

#include "devices/block/big_endian.h"
#include "devices/block/image.h"

namespace ring3 {
namespace {

constexpr uint64_t kOffsetMask = ~uint64_t{0x1FF};
constexpr uint64_t kMostTableBytes = 8u << 20;

/// A count in a block whose counts have 1 << order bits: big-endian bytes, or parts of a byte, lowest bits first.
uint64_t LoadCount(const uint8_t* block, uint64_t index, unsigned order) {
  switch (order) {
    case 3:
      return block[index];
    case 4:
      return LoadBig<uint16_t>(block + 2 * index);
    case 5:
      return LoadBig<uint32_t>(block + 4 * index);
    case 6:
      return LoadBig<uint64_t>(block + 8 * index);
    default: {
      const unsigned bits = 1u << order, per_byte = 8 / bits;
      return (block[index / per_byte] >> (index % per_byte * bits)) & ((1u << bits) - 1);
    }
  }
}

void StoreCount(uint8_t* block, uint64_t index, unsigned order, uint64_t count) {
  switch (order) {
    case 3:
      block[index] = static_cast<uint8_t>(count);
      break;
    case 4:
      StoreBig(block + 2 * index, static_cast<uint16_t>(count));
      break;
    case 5:
      StoreBig(block + 4 * index, static_cast<uint32_t>(count));
      break;
    case 6:
      StoreBig(block + 8 * index, count);
      break;
    default: {
      const unsigned bits = 1u << order, per_byte = 8 / bits;
      const unsigned shift = static_cast<unsigned>(index % per_byte) * bits;
      const unsigned mask = ((1u << bits) - 1) << shift;
      uint8_t& byte = block[index / per_byte];
      byte = static_cast<uint8_t>((byte & ~mask) | (count << shift));
    }
  }
}

}  // namespace

Qcow2Refcounts::Qcow2Refcounts(ImageFile& file, Qcow2Header& header, Qcow2Tables& tables)
    : file_(file), header_(header), tables_(tables) {
  std::vector<uint8_t> bytes(header.refcount_table_clusters * header.ClusterBytes());
  file.Read(header.refcount_table_offset, bytes);
  table_.resize(bytes.size() / 8);
  for (size_t i = 0; i < table_.size(); ++i) table_[i] = LoadBig<uint64_t>(&bytes[8 * i]) & kOffsetMask;
}

uint64_t Qcow2Refcounts::BlockOffset(uint64_t cluster) const {
  const uint64_t index = cluster / ClustersPerBlock();
  return index < table_.size() ? table_[index] : 0;
}

uint64_t Qcow2Refcounts::Get(uint64_t cluster) {
  const uint64_t block = BlockOffset(cluster);
  if (block == 0) return 0;
  return LoadCount(tables_.At(block).data(), cluster % ClustersPerBlock(), header_.refcount_order);
}

/// The run lies in one block, which exists.
void Qcow2Refcounts::Set(Run run, uint64_t count) {
  const uint64_t block = BlockOffset(run.first);
  Qcow2Tables::Bytes bytes = tables_.At(block);
  const uint64_t first = run.first % ClustersPerBlock();
  for (uint64_t i = 0; i < run.count; ++i) StoreCount(bytes.data(), first + i, header_.refcount_order, count);
  const uint64_t begin = (first << header_.refcount_order) / 8;
  const uint64_t end = (((first + run.count) << header_.refcount_order) + 7) / 8;
  tables_.Set(block, begin, std::span(bytes).subspan(begin, end - begin));
}

Qcow2Refcounts::Run Qcow2Refcounts::Allocate(uint64_t most) {
  uint64_t cluster = first_free_;
  for (;; ++cluster) {
    if (cluster >= Covered()) {
      first_free_ = cluster;
      GrowTable();
      cluster = first_free_;  // what the old table took is free now
    }
    if (BlockOffset(cluster) == 0) AddBlock(cluster);
    if (Get(cluster) == 0) break;
  }
  Run run{cluster, 1};
  const uint64_t block_end = (cluster / ClustersPerBlock() + 1) * ClustersPerBlock();
  while (run.count < most && cluster + run.count < block_end && Get(cluster + run.count) == 0) ++run.count;
  Set(run, 1);
  first_free_ = cluster + run.count;
  return run;
}

void Qcow2Refcounts::Release(uint64_t cluster) {
  const uint64_t count = Get(cluster);
  if (count == 0) {
    throw ImageError(EIO, fmt::format("qcow2 image {} is damaged (refcount of cluster {:#x}): see qemu-img check",
                                      file_.Path(), cluster));
  }
  Set({cluster, 1}, count - 1);
  if (count == 1) first_free_ = std::min(first_free_, cluster);
}

void Qcow2Refcounts::StoreTableEntry(uint64_t index, uint64_t offset) {
  uint8_t bytes[8];
  StoreBig(bytes, offset);
  file_.Write(header_.refcount_table_offset + 8 * index, bytes);
  table_[index] = offset;
}

/// The block for `cluster` is missing, so nothing that it would count is in use: the block takes the cluster itself.
void Qcow2Refcounts::AddBlock(uint64_t cluster) {
  const uint64_t index = cluster / ClustersPerBlock();
  if (header_.OverlapsTables(cluster * header_.ClusterBytes(), header_.ClusterBytes())) {
    throw ImageError(
        EIO, fmt::format("qcow2 image {} is damaged (no refcounts of its tables): see qemu-img check", file_.Path()));
  }
  Qcow2Tables::Bytes block(header_.ClusterBytes());
  StoreCount(block.data(), cluster % ClustersPerBlock(), header_.refcount_order, 1);
  tables_.Create(cluster * header_.ClusterBytes(), std::move(block));
  StoreTableEntry(index, cluster * header_.ClusterBytes());
}

/// A larger table, and blocks that count it and themselves, are placed in the first clusters that the present table
/// does not cover.
void Qcow2Refcounts::GrowTable() {
  const uint64_t cluster_bytes = header_.ClusterBytes();
  const uint64_t start = Covered(), per_block = ClustersPerBlock();
  const uint64_t old_clusters = header_.refcount_table_clusters, old_offset = header_.refcount_table_offset;
  uint64_t clusters = old_clusters + old_clusters / 2 + 1, blocks = 1;
  while (blocks * per_block < clusters + blocks) ++blocks;
  clusters = std::max(clusters, ((table_.size() + blocks) * 8 + cluster_bytes - 1) / cluster_bytes);
  while (blocks * per_block < clusters + blocks) ++blocks;
  if (clusters * cluster_bytes > kMostTableBytes)
    throw ImageError(EFBIG, fmt::format("qcow2 image {} cannot grow further", file_.Path()));
  std::vector<uint64_t> table = table_;
  table.resize(clusters * cluster_bytes / 8);
  for (uint64_t i = 0; i < blocks; ++i) {
    Qcow2Tables::Bytes block(cluster_bytes);
    for (uint64_t j = 0; j < per_block && i * per_block + j < clusters + blocks; ++j)
      StoreCount(block.data(), j, header_.refcount_order, 1);
    const uint64_t offset = (start + clusters + i) * cluster_bytes;
    tables_.Create(offset, std::move(block));
    table[table_.size() + i] = offset;
  }
  std::vector<uint8_t> bytes(clusters * cluster_bytes);
  for (size_t i = 0; i < table.size(); ++i) StoreBig(&bytes[8 * i], table[i]);
  file_.Write(start * cluster_bytes, bytes);
  file_.Flush();
  uint8_t field[12];
  StoreBig(field, start * cluster_bytes);
  StoreBig(field + 8, static_cast<uint32_t>(clusters));
  file_.Write(qcow2::kRefcountTableField, field);
  header_.refcount_table_offset = start * cluster_bytes;
  header_.refcount_table_clusters = static_cast<uint32_t>(clusters);
  table_ = std::move(table);
  for (uint64_t i = 0; i < old_clusters; ++i) Release(old_offset / cluster_bytes + i);
}

}  // namespace ring3
