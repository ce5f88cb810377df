// How often each cluster of a qcow2 image's file is used; where there is room.
#pragma once

#include <cstdint>
#include <vector>

#include "devices/block/qcow2_header.h"
#include "devices/block/qcow2_tables.h"

namespace ring3 {

class Qcow2Refcounts {
 public:
  /// Consecutive clusters of the file.
  struct Run {
    uint64_t first, count;
  };

  /// Keeps references to all three. Throws ImageError, as all of it does.
  Qcow2Refcounts(ImageFile& file, Qcow2Header& header, Qcow2Tables& tables);

  /// Between one and `most` free clusters, now in use once.
  Run Allocate(uint64_t most);
  /// In use once less.
  void Release(uint64_t cluster);

 private:
  uint64_t ClustersPerBlock() const { return (header_.ClusterBytes() * 8) >> header_.refcount_order; }
  uint64_t Covered() const { return table_.size() * ClustersPerBlock(); }
  uint64_t BlockOffset(uint64_t cluster) const;
  uint64_t Get(uint64_t cluster);
  void Set(Run run, uint64_t count);
  void StoreTableEntry(uint64_t index, uint64_t offset);
  void AddBlock(uint64_t cluster);
  void GrowTable();

  ImageFile& file_;
  Qcow2Header& header_;
  Qcow2Tables& tables_;
  std::vector<uint64_t> table_;
  uint64_t first_free_ = 1;  // none is free below
};

}  // namespace ring3
