// A qcow2 image, versions 2 and 3 (QEMU, docs/interop/qcow2.txt): the disk's clusters are found by two levels of
// tables, and come from a backing file while they are not here.
#pragma once

#include <memory>
#include <vector>

#include "devices/block/image.h"
#include "devices/block/image_file.h"
#include "devices/block/qcow2_header.h"
#include "devices/block/qcow2_refcounts.h"
#include "devices/block/qcow2_tables.h"

namespace ring3 {

/// Writes keep an order in which a death of this process leaves at most clusters that nobody uses. Left out:
/// encryption, external data files, zstd, extended L2 entries; such images are refused.
class Qcow2Image final : public Image {
 public:
  /// `depth` counts the files that have this one as their backing file. Throws UsageError and ImageError.
  explicit Qcow2Image(ImageFile file, unsigned depth = 0);

  uint64_t SizeBytes() const override { return size_; }
  bool ReadOnly() const override { return file_.ReadOnly(); }
  void Read(uint64_t offset, std::span<uint8_t> into) override;
  void Write(uint64_t offset, std::span<const uint8_t> data) override;
  void Flush() override { file_.Flush(); }

 private:
  enum class Kind : uint8_t { kAbsent, kZero, kData, kCompressed };
  /// Consecutive clusters of one kind; of the file as well, where they are data.
  struct Extent {
    Kind kind;
    uint64_t host;   // offset in the file, for data
    uint64_t entry;  // for a compressed cluster
    uint64_t bytes;  // from the offset that was asked for
  };

  uint64_t EntriesPerTable() const { return header_.ClusterBytes() / 8; }
  uint64_t Entry(uint64_t cluster);
  Kind KindOf(uint64_t entry) const;
  bool InPlace(uint64_t entry) const;
  Extent ExtentAt(uint64_t offset, uint64_t bytes);
  void CheckData(uint64_t host) const;
  void CheckFreeOfMetadata(uint64_t host, uint64_t bytes) const;
  void ReadBacking(uint64_t offset, std::span<uint8_t> into);
  void ReadCompressed(uint64_t entry, uint64_t within, std::span<uint8_t> into);
  size_t WriteInPlace(uint64_t offset, std::span<const uint8_t> data);
  size_t WriteNew(uint64_t offset, std::span<const uint8_t> data);
  std::vector<uint8_t> WholeClusters(uint64_t offset, std::span<const uint8_t> data, uint64_t bytes);
  void SetEntries(uint64_t cluster, std::span<const uint64_t> entries);
  uint64_t OwnTable(uint64_t index);
  void StoreL1Entry(uint64_t index, uint64_t entry);
  void ReleaseOld(uint64_t entry);
  [[noreturn]] void Damaged(const char* what) const;

  ImageFile file_;
  Qcow2Header header_;
  uint64_t size_;
  Qcow2Tables tables_;
  Qcow2Refcounts refcounts_;
  std::vector<uint64_t> l1_;
  std::unique_ptr<Image> backing_;
  std::vector<uint8_t> inflated_;  // the compressed cluster that was read last
  uint64_t inflated_entry_ = 0;
};

}  // namespace ring3
