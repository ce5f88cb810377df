// Makes empty qcow2 images, so that tests need no other program for them.
#pragma once

#include <string>

#include "tests/block/temporary_folder.h"

namespace ring3 {

struct Qcow2Shape {
  uint64_t size_bytes = 1 << 20;
  uint32_t version = 3;
  unsigned cluster_bits = 16;
  unsigned refcount_order = 4;  // 4 for version 2
  std::string backing_file, backing_format;
};

/// The bytes of the file: header, L1 table, refcount table and one refcount block.
Bytes EmptyQcow2(const Qcow2Shape& shape);

}  // namespace ring3
