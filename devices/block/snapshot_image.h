// An image whose changes are kept in a temporary file and forgotten at the end.
#pragma once

#include <memory>
#include <vector>

#include "devices/block/image.h"
#include "devices/block/image_file.h"

namespace ring3 {

/// The temporary file holds changed clusters at their own offsets; it is sparse.
class SnapshotImage final : public Image {
 public:
  static constexpr uint64_t kClusterBytes = 4096;

  /// Throws UsageError when there is no room for a temporary file.
  explicit SnapshotImage(std::unique_ptr<Image> base);

  uint64_t SizeBytes() const override { return base_->SizeBytes(); }
  bool ReadOnly() const override { return false; }
  void Read(uint64_t offset, std::span<uint8_t> into) override;
  void Write(uint64_t offset, std::span<const uint8_t> data) override;
  /// Nothing to do: what is thrown away need not reach the disk.
  void Flush() override {}

 private:
  void CopyUp(uint64_t cluster);

  std::unique_ptr<Image> base_;
  ImageFile changes_;
  std::vector<bool> changed_;  // per cluster
};

}  // namespace ring3
