#include "tests/block/test_qcow2.h"

#include <algorithm>

#include "devices/block/big_endian.h"

namespace ring3 {

Bytes EmptyQcow2(const Qcow2Shape& shape) {
  const uint64_t cluster = uint64_t{1} << shape.cluster_bits;
  const uint64_t per_table = cluster * (cluster / 8);
  const uint64_t l1_entries = (shape.size_bytes + per_table - 1) / per_table;
  const uint64_t l1_clusters = std::max<uint64_t>(1, (l1_entries * 8 + cluster - 1) / cluster);
  const uint64_t used = 3 + l1_clusters;  // header, refcount table, block, L1
  Bytes bytes(used * cluster);
  uint8_t* const at = bytes.data();
  StoreBig<uint32_t>(at, 0x514649FB);
  StoreBig<uint32_t>(at + 4, shape.version);
  StoreBig<uint32_t>(at + 20, shape.cluster_bits);
  StoreBig<uint64_t>(at + 24, shape.size_bytes);
  StoreBig<uint32_t>(at + 36, static_cast<uint32_t>(l1_entries));
  StoreBig<uint64_t>(at + 40, 3 * cluster);
  StoreBig<uint64_t>(at + 48, cluster);
  StoreBig<uint32_t>(at + 56, 1);
  size_t extensions = 72;
  if (shape.version == 3) {
    StoreBig<uint32_t>(at + 96, shape.refcount_order);
    StoreBig<uint32_t>(at + 100, 104);
    extensions = 104;
  }
  if (!shape.backing_format.empty()) {
    StoreBig<uint32_t>(at + extensions, 0xE2792ACA);
    StoreBig<uint32_t>(at + extensions + 4, static_cast<uint32_t>(shape.backing_format.size()));
    std::copy(shape.backing_format.begin(), shape.backing_format.end(), at + extensions + 8);
    extensions += 8 + ((shape.backing_format.size() + 7) & ~size_t{7});
  }
  if (!shape.backing_file.empty()) {
    StoreBig<uint64_t>(at + 8, extensions + 8);
    StoreBig<uint32_t>(at + 16, static_cast<uint32_t>(shape.backing_file.size()));
    std::copy(shape.backing_file.begin(), shape.backing_file.end(), at + extensions + 8);
  }
  StoreBig<uint64_t>(at + cluster, 2 * cluster);
  for (uint64_t i = 0; i < used; ++i) {
    uint8_t* const block = at + 2 * cluster;
    const unsigned bits = 1u << shape.refcount_order;
    if (bits < 8) {
      block[i * bits / 8] = static_cast<uint8_t>(block[i * bits / 8] | 1u << (i * bits % 8));
    } else {
      block[(i + 1) * bits / 8 - 1] = 1;
    }
  }
  return bytes;
}

}  // namespace ring3
