// L2 tables and refcount blocks of a qcow2 image: a cache of clusters of metadata, written through.
#pragma once

#include <cstdint>
#include <list>
#include <span>
#include <unordered_map>
#include <vector>

#include "devices/block/image_file.h"

namespace ring3 {

class Qcow2Tables {
 public:
  using Bytes = std::vector<uint8_t>;

  /// Tables are one cluster each.
  Qcow2Tables(ImageFile& file, uint64_t cluster_bytes);

  /// The table at this offset of the file; valid until the next call. Throws ImageError, for offsets that are not a
  /// cluster's, too.
  const Bytes& At(uint64_t offset);
  /// Changes a part, in the file first.
  void Set(uint64_t offset, uint64_t at, std::span<const uint8_t> bytes);
  /// A whole new table.
  void Create(uint64_t offset, Bytes bytes);

 private:
  struct Table {
    uint64_t offset;
    Bytes bytes;
  };
  Bytes& Load(uint64_t offset);
  Bytes& Keep(uint64_t offset, Bytes bytes);
  void CheckOffset(uint64_t offset) const;

  ImageFile& file_;
  uint64_t cluster_bytes_;
  size_t most_;
  std::list<Table> tables_;  // used last comes first
  std::unordered_map<uint64_t, std::list<Table>::iterator> by_offset_;
};

}  // namespace ring3
