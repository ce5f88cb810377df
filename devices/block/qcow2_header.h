// The header of a qcow2 image, versions 2 and 3 (QEMU, docs/interop/qcow2.txt).
#pragma once

#include <cstdint>
#include <string>

#include "devices/block/image_file.h"

namespace ring3 {

struct Qcow2Header {
  uint32_t version = 2;
  std::string backing_file, backing_format;  // empty: none
  unsigned cluster_bits = 16;
  uint64_t size_bytes = 0;  // what the guest sees
  uint32_t l1_entries = 0;
  uint64_t l1_offset = 0;
  uint64_t refcount_table_offset = 0;
  uint32_t refcount_table_clusters = 0;
  unsigned refcount_order = 4;  // a refcount has 1 << this bits
  uint64_t autoclear_features = 0;

  uint64_t ClusterBytes() const { return uint64_t{1} << cluster_bits; }
  /// Whether these bytes of the file touch the header, the L1 table or the refcount table.
  bool OverlapsTables(uint64_t host, uint64_t bytes) const;
};

namespace qcow2 {
// Header fields that are rewritten.
inline constexpr uint64_t kRefcountTableField = 48;  // offset, 8 bytes, and clusters, 4 bytes
inline constexpr uint64_t kAutoclearField = 88;
}  // namespace qcow2

/// Throws UsageError for what is damaged, or needs features that are not here; ImageError for what cannot be read.
Qcow2Header ReadQcow2Header(const ImageFile& file);

}  // namespace ring3
